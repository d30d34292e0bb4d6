package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

type manifests struct {
	Objects  map[string][]any `json:"objects"`
	Problems []string         `json:"problems"`
}

func judgeManifests(directory string) (*manifests, error) {
	// In memory, where a kustomization can be added that takes a component.
	files := filesys.MakeFsInMemory()
	names, err := load(files, directory)
	if err != nil {
		return nil, err
	}
	found := &manifests{Objects: map[string][]any{}, Problems: []string{}}
	for _, name := range names {
		kind, err := kindOf(files, name)
		if err != nil {
			return nil, err
		}
		place := "/" + name
		if kind == types.ComponentKind {
			place = "/taking/" + name
			// Kustomize takes no absolute paths.
			up, err := filepath.Rel(place, "/")
			if err != nil {
				return nil, err
			}
			text := fmt.Sprintf("resources: [%[1]s/%[2]s]\ncomponents: [%[1]s/%[3]s]\n", up, filepath.Dir(name), name)
			if err := files.WriteFile(place+"/kustomization.yaml", []byte(text)); err != nil {
				return nil, err
			}
		}
		rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, place)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, resource := range rendered.Resources() {
			object, err := resource.Map()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			found.Objects[name] = append(found.Objects[name], object)
			for _, problem := range judgeObject(object) {
				found.Problems = append(found.Problems, name+": "+problem)
			}
		}
	}
	return found, nil
}

// load copies all files below a directory, and returns those directories in it that kustomize can render.
func load(files filesys.FileSystem, directory string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(directory, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if filepath.Base(name) == "kustomization.yaml" {
			names = append(names, filepath.Dir(name))
		}
		return files.WriteFile("/"+name, content)
	})
	return names, err
}

func kindOf(files filesys.FileSystem, name string) (string, error) {
	text, err := files.ReadFile("/" + name + "/kustomization.yaml")
	if err != nil {
		return "", err
	}
	var kustomization types.Kustomization
	// Kustomize itself forgives misspelt fields of some kinds.
	if err := yaml.UnmarshalStrict(text, &kustomization); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return kustomization.Kind, nil
}
