// SPDX-License-Identifier: Apache-2.0

// Command lb is the smallest load balancer that upstream's specs need. It gives each Service of
// that type an address, says so in its status, and routes the address, on the machine it runs
// on, to a node that may take the traffic. With externalTrafficPolicy=Local those are the nodes
// whose health check answers; connections spread over them unless the Service wants affinity.
//
//	lb -kubeconfig FILE -pool4 192.0.2. -pool6 2001:db8::
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const period = 500 * time.Millisecond

// balancer holds what was given out.
type balancer struct {
	client       kubernetes.Interface
	pool4, pool6 string
	numbers      map[string]int // by namespace/name; the last part of its addresses
	router       *router
}

// number is the Service's own, the lowest free one when it has none.
func (b *balancer) number(key string) int {
	if n := b.numbers[key]; n != 0 {
		return n
	}
	used := map[int]bool{}
	for _, n := range b.numbers {
		used[n] = true
	}
	n := 1
	for used[n] {
		n++
	}
	b.numbers[key] = n
	return n
}

func (b *balancer) address(key string, family v1.IPFamily) string {
	if family == v1.IPv6Protocol {
		return fmt.Sprintf("%s%x", b.pool6, b.number(key))
	}
	return fmt.Sprintf("%s%d", b.pool4, b.number(key))
}

// forget frees the numbers of Services that are gone.
func (b *balancer) forget(services []v1.Service) {
	live := map[string]bool{}
	for i := range services {
		live[key(&services[i])] = true
	}
	for k := range b.numbers {
		if !live[k] {
			delete(b.numbers, k)
		}
	}
}

// round looks at every Service once.
func (b *balancer) round(ctx context.Context) error {
	list := metav1.ListOptions{ResourceVersion: "0"}
	nodes, err := b.client.CoreV1().Nodes().List(ctx, list)
	if err != nil {
		return err
	}
	services, err := b.client.CoreV1().Services("").List(ctx, list)
	if err != nil {
		return err
	}
	addresses := nodeAddresses(nodes.Items)
	for i := range services.Items {
		s := &services.Items[i]
		if err := b.reconcile(ctx, s, addresses); err != nil {
			log.Printf("%s: %v", key(s), err)
		}
	}
	b.forget(services.Items)
	return nil
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file")
	pool4 := flag.String("pool4", "", "first three parts of the IPv4 addresses to give, with the dot")
	pool6 := flag.String("pool6", "", "first part of the IPv6 addresses to give, with the colons")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	b := &balancer{client, *pool4, *pool6, map[string]int{}, newRouter()}
	for ; ; time.Sleep(period) {
		if err := b.round(context.Background()); err != nil {
			log.Print(err)
		}
	}
}
