// Runs a client of clients.toml: its setup once, and its request, an expression, once for each line on standard input.
//
// Usage: run.js PACKAGE SETUP REQUEST. Prints the version of the client, and then each outcome, as JSON.
'use strict';

const readline = require('node:readline');

const AsyncFunction = (async () => {}).constructor;

async function main(packageName, setup, request) {
  const client = await new AsyncFunction('require', `${setup}\nreturn async () => (${request});`)(require);
  const version = packageName === 'node' ? process.versions.node : require(`${packageName}/package.json`).version;
  const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  print({ version });
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    try {
      print({ value: await client() });
    } catch (error) {
      print({ error: String(error) });
    }
  }
}

main(...process.argv.slice(2));
