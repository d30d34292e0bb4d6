// Command readers prints the credentials that the reader of some tool gets:
//
//	readers cli-profile FILE   the configuration of aliyun-cli, read by credentials-go
//	readers ossutil FILE       the configuration of ossutil 1, read by ossutil
//	readers process COMMAND    what the command prints, read by the second OSS SDK
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	process "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/credentials-go/credentials/providers"
	ossutil "github.com/aliyun/ossutil/lib"
)

// Triple is what every reader gets.
type Triple struct{ AccessKeyId, AccessKeySecret, SecurityToken string }

func main() {
	answers := json.NewEncoder(os.Stdout)
	// Some readers print their warnings to standard output, which is for the answer.
	os.Stdout = os.Stderr

	readers := map[string]func(string) (Triple, error){
		"cli-profile": cliProfile,
		"ossutil":     ossutilConfiguration,
		"process":     processOutput,
	}
	if len(os.Args) != 3 || readers[os.Args[1]] == nil {
		log.Fatal("usage: readers cli-profile|ossutil|process FILE|COMMAND")
	}
	triple, err := readers[os.Args[1]](os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := answers.Encode(triple); err != nil {
		log.Fatal(err)
	}
}

func cliProfile(file string) (Triple, error) {
	provider, err := providers.NewCLIProfileCredentialsProviderBuilder().WithProfileFile(file).Build()
	if err != nil {
		return Triple{}, err
	}
	read, err := provider.GetCredentials()
	if err != nil {
		return Triple{}, err
	}
	return Triple{read.AccessKeyId, read.AccessKeySecret, read.SecurityToken}, nil
}

func ossutilConfiguration(file string) (Triple, error) {
	options, err := ossutil.LoadConfig(file)
	if err != nil {
		return Triple{}, err
	}
	read := map[string]string{}
	for _, name := range []string{ossutil.OptionAccessKeyID, ossutil.OptionAccessKeySecret, ossutil.OptionSTSToken} {
		value, isText := options[name].(string)
		if !isText {
			return Triple{}, fmt.Errorf("%s: no %s", file, name)
		}
		read[name] = value
	}
	return Triple{
		read[ossutil.OptionAccessKeyID],
		read[ossutil.OptionAccessKeySecret],
		read[ossutil.OptionSTSToken],
	}, nil
}

func processOutput(command string) (Triple, error) {
	read, err := process.NewProcessCredentialsProvider(command).GetCredentials(context.Background())
	if err != nil {
		return Triple{}, err
	}
	return Triple{read.AccessKeyID, read.AccessKeySecret, read.SecurityToken}, nil
}
