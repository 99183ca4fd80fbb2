// SPDX-License-Identifier: Apache-2.0

// Command images knows the image names that upstream's specs ask for, and packs a root file
// system into an archive that a container runtime can import under those names.
//
//	images names                            one line per image: KEY=NAME
//	images pack LAYER.tar OUT.tar KEY=NAME...
//
// The names come from upstream's own list, so that a newer Kubernetes needs no edit here.
package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"k8s.io/kubernetes/test/utils/image"
)

// start is what a container runs when its pod names no command.
type start struct {
	Entrypoint []string `json:",omitempty"`
	Cmd        []string `json:",omitempty"`
	Env        []string
}

var path = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

var kinds = map[string]start{
	"agnhost":  {[]string{"/agnhost"}, []string{"pause"}, path},
	"busybox":  {nil, []string{"sh"}, path},
	"glibcdns": {nil, []string{"sh"}, path},
	"nginx":    {nil, []string{"/agnhost", "test-webserver"}, path},
	"iptables": {nil, []string{"sh"}, path},
	"pause":    {[]string{"/pause"}, nil, path},
	"coredns":  {[]string{"/coredns"}, nil, path},
	"issue":    {[]string{"/regression-issue-74839"}, nil, path},
}

// Which kind stands in for which of upstream's images.
var wanted = []struct {
	key string
	id  image.ImageID
}{
	{"agnhost", image.Agnhost},
	{"agnhost", image.AgnhostPrev},
	{"busybox", image.BusyBox},
	{"glibcdns", image.GlibcDnsTesting},
	{"nginx", image.Nginx},
	{"nginx", image.NginxNew},
	{"iptables", image.DistrolessIptables},
	{"issue", image.RegressionIssue74839},
	{"pause", image.Pause},
}

// entry is an image in the archive's manifest.json.
type entry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// manifest makes one entry of each kind that the KEY=NAME arguments want.
func manifest(images []string) ([]*entry, error) {
	var all []*entry
	byKey := map[string]*entry{}
	for _, argument := range images {
		key, name, ok := strings.Cut(argument, "=")
		if _, known := kinds[key]; !ok || !known {
			return nil, fmt.Errorf("not KEY=NAME with a known key: %q", argument)
		}
		if byKey[key] == nil {
			byKey[key] = &entry{Config: key + ".json", Layers: []string{"layer.tar"}}
			all = append(all, byKey[key])
		}
		byKey[key].RepoTags = append(byKey[key].RepoTags, name)
	}
	return all, nil
}

// config is an image's configuration: what it starts, and the digest of its one layer.
func config(key, digest string) any {
	return map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": kinds[key],
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest}},
	}
}

func putJSON(archive *tar.Writer, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err = archive.Write(data)
	return err
}

// putLayer copies the layer into the archive and returns its digest.
func putLayer(archive *tar.Writer, layer string) (string, error) {
	in, err := os.Open(layer)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", err
	}
	if err := archive.WriteHeader(&tar.Header{Name: "layer.tar", Mode: 0o644, Size: info.Size()}); err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(archive, sum), in)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), err
}

// pack writes an archive in Docker's format, several images over one layer.
func pack(layer, out string, images []string) error {
	entries, err := manifest(images)
	if err != nil {
		return err
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := tar.NewWriter(file)
	digest, err := putLayer(archive, layer)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := putJSON(archive, e.Config, config(strings.TrimSuffix(e.Config, ".json"), digest)); err != nil {
			return err
		}
	}
	if err := putJSON(archive, "manifest.json", entries); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return file.Close()
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "names":
		for _, w := range wanted {
			fmt.Printf("%s=%s\n", w.key, image.GetE2EImage(w.id))
		}
	case len(os.Args) > 4 && os.Args[1] == "pack":
		if err := pack(os.Args[2], os.Args[3], os.Args[4:]); err != nil {
			fmt.Fprintln(os.Stderr, "images:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: images names | images pack LAYER.tar OUT.tar KEY=NAME...")
		os.Exit(2)
	}
}
