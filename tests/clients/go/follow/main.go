// Command follow fetches credentials in the ways of credentials-go that its arguments name, once for each `fetch` line
// on standard input.
//
// The provider objects are made once and reused, so the answers show whether they follow a rotation.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"strings"

	"github.com/aliyun/credentials-go/credentials"
)

func main() {
	answers := json.NewEncoder(os.Stdout)
	// The SDK prints its warnings to standard output, which is for the answers.
	os.Stdout = os.Stderr

	ways := map[string]credentials.Credential{}
	for _, name := range os.Args[1:] {
		ways[name] = client(name)
	}

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) != "fetch" {
			continue
		}
		fetched := map[string]map[string]string{}
		for name, way := range ways {
			fetched[name] = answer(way)
		}
		if err := answers.Encode(fetched); err != nil {
			log.Fatal(err)
		}
	}
}

func client(way string) credentials.Credential {
	var config *credentials.Config
	switch way {
	case "credentials_uri":
		config = new(credentials.Config).SetType(way).SetURLCredential(os.Getenv("ALIBABA_CLOUD_CREDENTIALS_URI"))
	case "ecs_ram_role":
		config = new(credentials.Config).SetType(way)
	case "default":
	default:
		log.Fatalf("unknown way: %s", way)
	}
	made, err := credentials.NewCredential(config)
	if err != nil {
		log.Fatal(err)
	}
	return made
}

func answer(way credentials.Credential) map[string]string {
	credential, err := way.GetCredential()
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return map[string]string{
		"AccessKeyId":     *credential.AccessKeyId,
		"AccessKeySecret": *credential.AccessKeySecret,
		"SecurityToken":   *credential.SecurityToken,
	}
}
