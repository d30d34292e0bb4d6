// Judges manifests and pods by Kubernetes' own libraries: kustomize renders them, the types of the API decode them and
// take no field that they do not know, Pod Security evaluates them, and the API server's JSON patch applies patches.
//
// Usage:
//
//	kubernetes manifests DIRECTORY
//	kubernetes pods
//
// The first renders every kustomization below the directory, and every component on top of the kustomization that it lies
// in, and prints {"objects": {NAME: [...]}, "problems": [...]}. Every pod in them must meet the restricted standard.
//
// The second reads a list of {"before": POD, "after": POD, "patch": [...]} from standard input, of which every field may
// be left out, and prints a list of {"before": LEVEL, "after": LEVEL, "problems": [...]}, where the levels are
// those of Pod Security that the pods meet. It is a problem if a pod has fields that no pod has, and if the patch makes
// anything but the one out of the other.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	answer, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) (any, error) {
	switch {
	case len(args) == 2 && args[0] == "manifests":
		return judgeManifests(args[1])
	case len(args) == 1 && args[0] == "pods":
		return judgePods(os.Stdin)
	}
	return nil, fmt.Errorf("usage: kubernetes manifests DIRECTORY | kubernetes pods")
}
