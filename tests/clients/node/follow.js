// Fetches credentials through every way @alicloud/credentials offers, once for each `fetch` line on standard input.
//
// The provider objects are made once and kept, so the answers show whether they follow a rotation.
'use strict';

const readline = require('node:readline');
const credentials = require('@alicloud/credentials');

const Client = credentials.default;
const uri = process.env.ALIBABA_CLOUD_CREDENTIALS_URI;
const ways = {
  credentials_uri: new Client(new credentials.Config({ type: 'credentials_uri', credentialsURI: uri })),
  default: new Client(),
};

async function answer(client) {
  try {
    const credential = await client.getCredential();
    return {
      AccessKeyId: credential.accessKeyId,
      AccessKeySecret: credential.accessKeySecret,
      SecurityToken: credential.securityToken,
    };
  } catch (error) {
    return { error: String(error) };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim() !== 'fetch') continue;
    const answers = {};
    for (const [name, client] of Object.entries(ways)) answers[name] = await answer(client);
    process.stdout.write(`${JSON.stringify(answers)}\n`);
  }
}

main();
