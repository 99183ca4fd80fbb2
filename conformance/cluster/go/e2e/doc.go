// SPDX-License-Identifier: Apache-2.0

// Package e2e builds upstream's network specs into one test binary.
package e2e
