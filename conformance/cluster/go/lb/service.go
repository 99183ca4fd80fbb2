// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"reflect"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The finalizer that upstream's service controller sets, and a spec looks for.
const finalizer = "service.kubernetes.io/load-balancer-cleanup"

func key(s *v1.Service) string { return s.Namespace + "/" + s.Name }

func wanted(s *v1.Service) bool {
	return s.Spec.Type == v1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil &&
		s.DeletionTimestamp == nil
}

func isFinalizer(f string) bool { return f == finalizer }

// reconcile gives the Service addresses, or takes them back.
func (b *balancer) reconcile(ctx context.Context, s *v1.Service, nodes map[v1.IPFamily][]string) error {
	if !wanted(s) {
		return b.release(ctx, s.DeepCopy())
	}
	var status v1.LoadBalancerStatus
	mode := v1.LoadBalancerIPModeVIP
	for _, family := range s.Spec.IPFamilies {
		address := b.address(key(s), family)
		status.Ingress = append(status.Ingress, v1.LoadBalancerIngress{IP: address, IPMode: &mode})
		b.router.lead(address, s, b.number(key(s)), nodes[family])
	}
	return b.publish(ctx, s.DeepCopy(), status)
}

// publish writes the finalizer first, so that no address can be lost.
func (b *balancer) publish(ctx context.Context, s *v1.Service, status v1.LoadBalancerStatus) error {
	api := b.client.CoreV1().Services(s.Namespace)
	if !slices.ContainsFunc(s.Finalizers, isFinalizer) {
		s.Finalizers = append(s.Finalizers, finalizer)
		updated, err := api.Update(ctx, s, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		s = updated
	}
	if reflect.DeepEqual(s.Status.LoadBalancer, status) {
		return nil
	}
	s.Status.LoadBalancer = status
	_, err := api.UpdateStatus(ctx, s, metav1.UpdateOptions{})
	return err
}

// release takes back routes, number, status and finalizer of what is no load balancer any more.
func (b *balancer) release(ctx context.Context, s *v1.Service) error {
	for _, given := range s.Status.LoadBalancer.Ingress {
		b.router.set(given.IP, nil)
	}
	delete(b.numbers, key(s))
	if !slices.ContainsFunc(s.Finalizers, isFinalizer) {
		return nil
	}
	api := b.client.CoreV1().Services(s.Namespace)
	if s.DeletionTimestamp == nil {
		s.Status.LoadBalancer = v1.LoadBalancerStatus{}
		updated, err := api.UpdateStatus(ctx, s, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		s = updated
	}
	s.Finalizers = slices.DeleteFunc(s.Finalizers, isFinalizer)
	_, err := api.Update(ctx, s, metav1.UpdateOptions{})
	return err
}
