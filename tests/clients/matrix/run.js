// Runs a program of clients.toml: its setup once, and its request once for each line on standard input.
//
// Usage: run.js PACKAGE REQUEST SETUP. Prints the version of the client, and then what each request printed, as JSON.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const util = require('node:util');

async function main(packageName, request, setup) {
  // A module finds packages beside itself only.
  fs.symlinkSync(process.env.NODE_PATH, 'node_modules');
  fs.writeFileSync('job.mjs', `${setup}\nexport async function look() {\n${request}\n}\n`);
  const { look } = await import(path.resolve('job.mjs'));
  const version = packageName === 'node' ? process.versions.node : require(`${packageName}/package.json`).version;
  const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  answer({ version });
  let printed;
  console.log = (...values) => {
    printed += `${util.format(...values)}\n`;
  };
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    printed = '';
    try {
      await look();
      answer({ printed });
    } catch (error) {
      answer({ error: String(error) });
    }
  }
}

main(...process.argv.slice(2));
