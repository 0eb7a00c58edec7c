#!/usr/bin/env node
// SPDX-License-Identifier: BSD-3-Clause
// HTTP with node's own modules.
//
//     http_node.js serve ADDRESS PORT                        answer with what was posted
//     http_node.js ask ADDRESS PORT CONNECTIONS ROUNDS       print how many answers came and were wrong
"use strict";

const http = require("http");

function serve(address, port) {
  const server = http.createServer((request, response) => request.pipe(response));
  server.listen({ host: address, port, backlog: 512 }, () => console.log("listening"));
  process.on("SIGTERM", () => process.exit(0));
}

function post(agent, address, port, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, host: address, port, method: "POST" }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks)));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function ask(address, port, connections, rounds) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  let answers = 0;
  let wrong = 0;
  async function client(number) {
    for (let round = 0; round < rounds; round++) {
      const body = Buffer.alloc(1 + number * 997, `${number}/${round};`);
      const answer = await post(agent, address, port, body);
      answers++;
      wrong += answer.equals(body) ? 0 : 1;
    }
  }
  await Promise.all(Array.from({ length: connections }, (_, number) => client(number)));
  agent.destroy();
  console.log(JSON.stringify({ answers, wrong }));
}

const [what, address, port, ...counts] = process.argv.slice(2);
if (what === "serve") serve(address, Number(port));
else ask(address, Number(port), ...counts.map(Number));
