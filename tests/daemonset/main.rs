// SPDX-License-Identifier: Apache-2.0
//! What runs on a cluster, checked without one: the manifests, kubeadm's own, and the image.

mod files;
mod image;
mod kubeadm;
mod kustomize;
mod pod;
mod role;
