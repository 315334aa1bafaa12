/** The probes in the frameworks that the documentation names, each read over HTTP. */
import { afterEach, expect, test } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import express from 'express';
import fastify from 'fastify';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openStorage } from '../src/index.js';

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

async function open() {
  const storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  closings.push(() => storage.close());
  return storage;
}

async function statuses(base: string): Promise<number[]> {
  const paths = ['/livez', '/readyz', '/startupz', '/health'];
  return Promise.all(paths.map(async (path) => (await fetch(base + path)).status));
}

test('Express, at the root and under a prefix, beside other routes', async () => {
  const app = express();
  app.get('/hello', (_request, response) => void response.send('hello'));
  const storage = await open();
  app.use('/internal', storage.probes());
  app.use(storage.probes());
  const server = await new Promise<Server>((resolve) => {
    const listening = app.listen(0, () => resolve(listening));
  });
  closings.push(() => server.close());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  expect(await statuses(base)).toEqual([200, 200, 200, 200]);
  expect(await statuses(`${base}/internal`)).toEqual([200, 200, 200, 200]);
  expect((await fetch(`${base}/hello`)).status).toBe(200);
  expect((await fetch(`${base}/other`)).status).toBe(404);
});

test('Fastify, by its raw request and response', async () => {
  const app = fastify();
  const storage = await open();
  const probes = storage.probes();
  for (const path of ['/livez', '/readyz', '/startupz', '/health'])
    app.get(path, (request, reply) => {
      reply.hijack();
      probes(request.raw, reply.raw);
    });
  const base = await app.listen({ port: 0, host: '127.0.0.1' });
  closings.push(() => app.close());
  expect(await statuses(base)).toEqual([200, 200, 200, 200]);
});

test('Nest, as a middleware', async () => {
  class AppModule {}
  const app = await NestFactory.create(AppModule, { logger: false });
  const storage = await open();
  app.use(storage.probes());
  await app.listen(0, '127.0.0.1');
  closings.push(() => app.close());
  expect(await statuses(await app.getUrl())).toEqual([200, 200, 200, 200]);
  await storage.close();
  expect(await statuses(await app.getUrl())).toEqual([200, 503, 200, 503]);
});
