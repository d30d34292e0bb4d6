// Command follow fetches credentials through every way credentials-go offers, once for each `fetch` line on standard
// input.
//
// The provider objects are made once and kept, so the answers show whether they follow a rotation.
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
	config := new(credentials.Config).
		SetType("credentials_uri").
		SetURLCredential(os.Getenv("ALIBABA_CLOUD_CREDENTIALS_URI"))
	ways := map[string]credentials.Credential{
		"credentials_uri": client(config),
		"default":         client(nil),
	}

	answers := json.NewEncoder(os.Stdout)
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

func client(config *credentials.Config) credentials.Credential {
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
