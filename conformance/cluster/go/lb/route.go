// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// router holds the routes that it made: for each address, the nodes it leads to.
type router struct {
	routes map[string][]string
	probe  http.Client
}

func newRouter() *router {
	return &router{routes: map[string][]string{}, probe: http.Client{Timeout: time.Second}}
}

func isIPv6(address string) bool { return net.ParseIP(address).To4() == nil }

// set makes the route lead to these nodes, in equal shares; without nodes it goes.
func (r *router) set(address string, nodes []string) {
	if slices.Equal(r.routes[address], nodes) {
		return
	}
	family, bits := "-4", "/32"
	if isIPv6(address) {
		family, bits = "-6", "/128"
	}
	arguments := []string{family, "route", "del", address + bits}
	if len(nodes) > 0 {
		arguments[2] = "replace"
	}
	for _, node := range nodes {
		arguments = append(arguments, "nexthop", "via", node)
	}
	out, err := exec.Command("ip", arguments...).CombinedOutput()
	log.Printf("%s via %q: %v %s", address, nodes, err, out)
	if len(nodes) == 0 {
		delete(r.routes, address)
	} else {
		r.routes[address] = nodes
	}
}

// lead chooses among the nodes that may take the Service's traffic. One that is in use stays
// so. While no node is able, the route stays as it is.
func (r *router) lead(address string, s *v1.Service, number int, nodes []string) {
	var able []string
	for _, node := range nodes {
		if r.healthy(node, s) {
			able = append(able, node)
		}
	}
	current := r.routes[address]
	switch {
	case len(able) == 0:
	case isLocal(s) && s.Spec.SessionAffinity == v1.ServiceAffinityNone:
		r.set(address, able)
	case len(current) != 1 || !slices.Contains(able, current[0]):
		r.set(address, []string{able[number%len(able)]})
	}
}

// healthy asks the node's health check port, where the Service has one.
func (r *router) healthy(node string, s *v1.Service) bool {
	if !isLocal(s) || s.Spec.HealthCheckNodePort == 0 {
		return true
	}
	port := fmt.Sprint(s.Spec.HealthCheckNodePort)
	reply, err := r.probe.Get("http://" + net.JoinHostPort(node, port) + "/healthz")
	if err != nil {
		return false
	}
	reply.Body.Close()
	return reply.StatusCode == http.StatusOK
}

func isLocal(s *v1.Service) bool {
	return s.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
}

// nodeAddresses are the nodes' own, by family.
func nodeAddresses(nodes []v1.Node) map[v1.IPFamily][]string {
	all := map[v1.IPFamily][]string{}
	for _, node := range nodes {
		for _, a := range node.Status.Addresses {
			if a.Type != v1.NodeInternalIP {
				continue
			}
			family := v1.IPv4Protocol
			if strings.Contains(a.Address, ":") {
				family = v1.IPv6Protocol
			}
			all[family] = append(all[family], a.Address)
		}
	}
	return all
}
