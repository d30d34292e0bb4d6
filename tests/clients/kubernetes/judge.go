package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policyapi "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	strict "sigs.k8s.io/json"
)

// The kinds whose types are known; of others, only the pods in them are judged.
var known = map[string]func() any{
	"admissionregistration.k8s.io/v1 MutatingWebhookConfiguration": fresh[admissionregistration.MutatingWebhookConfiguration],
	"apps/v1 Deployment":                              fresh[apps.Deployment],
	"batch/v1 Job":                                    fresh[batch.Job],
	"networking.k8s.io/v1 NetworkPolicy":              fresh[networking.NetworkPolicy],
	"policy/v1 PodDisruptionBudget":                   fresh[policyapi.PodDisruptionBudget],
	"rbac.authorization.k8s.io/v1 ClusterRole":        fresh[rbac.ClusterRole],
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding": fresh[rbac.ClusterRoleBinding],
	"v1 Namespace":                                    fresh[core.Namespace],
	"v1 Pod":                                          fresh[core.Pod],
	"v1 Service":                                      fresh[core.Service],
	"v1 ServiceAccount":                               fresh[core.ServiceAccount],
}

// Those that have no pods and whose types are another project's.
var foreign = map[string]bool{
	"cert-manager.io/v1 Certificate":      true,
	"cert-manager.io/v1 Issuer":           true,
	"monitoring.coreos.com/v1 PodMonitor": true,
}

func fresh[T any]() any {
	return new(T)
}

// judgeObject returns the problems of an object and of the pods that it makes.
func judgeObject(object map[string]any) []string {
	kind := fmt.Sprintf("%v %v", object["apiVersion"], object["kind"])
	var problems []string
	typed, isKnown := known[kind]
	if isKnown {
		problems = append(problems, decode(object, typed())...)
	}
	templates := templatesOf(object)
	if object["kind"] == "Pod" {
		templates = append(templates, object)
	}
	if !isKnown && !foreign[kind] && len(templates) == 0 {
		problems = append(problems, "it has no pods, and its type is not known")
	}
	for _, template := range templates {
		var pod core.PodTemplateSpec
		withoutKind := map[string]any{"metadata": template["metadata"], "spec": template["spec"]}
		problems = append(problems, decode(withoutKind, &pod)...)
		if reason := violated(security.LevelRestricted, &pod); reason != "" {
			problems = append(problems, reason)
		}
	}
	for i := range problems {
		problems[i] = kind + ": " + problems[i]
	}
	return problems
}

// templatesOf finds every template of pods in an object, at any depth.
func templatesOf(value any) []map[string]any {
	var found []map[string]any
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			if template, ok := inner.(map[string]any); ok && name == "template" {
				if spec, ok := template["spec"].(map[string]any); ok && spec["containers"] != nil {
					found = append(found, template)
				}
			}
			found = append(found, templatesOf(inner)...)
		}
	case []any:
		for _, inner := range value {
			found = append(found, templatesOf(inner)...)
		}
	}
	return found
}

// decode returns the fields of a value that are unknown to its type or duplicated.
func decode(value, into any) []string {
	text, err := json.Marshal(value)
	if err != nil {
		return []string{err.Error()}
	}
	unknown, err := strict.UnmarshalStrict(text, into)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, problem := range unknown {
		problems = append(problems, problem.Error())
	}
	return problems
}

// violated returns why a pod does not meet a level of Pod Security; nothing if it does.
func violated(level security.Level, pod *core.PodTemplateSpec) string {
	at := security.LevelVersion{Level: level, Version: security.LatestVersion()}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(at, &pod.ObjectMeta, &pod.Spec))
	if result.Allowed {
		return ""
	}
	return fmt.Sprintf("does not meet %s: %s", level, result.ForbiddenDetail())
}

var evaluator = func() policy.Evaluator {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		panic(err)
	}
	return evaluator
}()

type question struct {
	Before map[string]any  `json:"before"`
	After  map[string]any  `json:"after"`
	Patch  json.RawMessage `json:"patch"`
}

type verdict struct {
	Before   security.Level `json:"before,omitempty"`
	After    security.Level `json:"after,omitempty"`
	Problems []string       `json:"problems"`
}

func judgePods(input io.Reader) ([]verdict, error) {
	var questions []question
	if err := json.NewDecoder(input).Decode(&questions); err != nil {
		return nil, err
	}
	verdicts := make([]verdict, 0, len(questions))
	for _, question := range questions {
		verdict := verdict{Problems: []string{}}
		verdict.Before = verdict.level("before", question.Before)
		verdict.After = verdict.level("after", question.After)
		if question.Patch != nil {
			if problem := patched(question); problem != "" {
				verdict.Problems = append(verdict.Problems, problem)
			}
		}
		verdicts = append(verdicts, verdict)
	}
	return verdicts, nil
}

// level returns the strictest level that a pod or a template meets, and notes what no pod has.
func (verdict *verdict) level(name string, object map[string]any) security.Level {
	if object == nil {
		return ""
	}
	var pod core.Pod
	for _, problem := range decode(object, &pod) {
		verdict.Problems = append(verdict.Problems, name+": "+problem)
	}
	template := core.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	for _, level := range []security.Level{security.LevelRestricted, security.LevelBaseline} {
		if violated(level, &template) == "" {
			return level
		}
	}
	return security.LevelPrivileged
}

// patched returns why the patch does not turn the pod before into the pod after.
func patched(question question) string {
	before, err := json.Marshal(question.Before)
	if err != nil {
		return err.Error()
	}
	patch, err := jsonpatch.DecodePatch(question.Patch)
	if err != nil {
		return "patch: " + err.Error()
	}
	text, err := patch.Apply(before)
	if err != nil {
		return "patch: " + err.Error()
	}
	var result map[string]any
	if err := json.Unmarshal(text, &result); err != nil {
		return "patch: " + err.Error()
	}
	if !reflect.DeepEqual(result, question.After) {
		return fmt.Sprintf("patch: makes %s", text)
	}
	return ""
}
