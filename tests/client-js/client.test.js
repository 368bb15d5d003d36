// The public client, unmodified, against `shelfmark serve`: all twenty routes, paging by next(), errors, 204s.
//
//   cargo build -p shelfmark-cli && cd tests/client-js && npm ci && npm test
//
// SHELFMARK names another binary than target/debug/shelfmark.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import * as assets from "@qlik/api/data-assets";
import * as sets from "@qlik/api/data-sets";
import * as stores from "@qlik/api/data-stores";

const binary = process.env.SHELFMARK ?? path.resolve(import.meta.dirname, "../../target/debug/shelfmark");
const token = "a-token-for-the-client";
let folder;
let server;
let options;

/** Every route that was asked, ids taken out. */
const asked = new Set();
const fetch = globalThis.fetch;
globalThis.fetch = (url, init) => {
  const route = new URL(url).pathname
    .split("/")
    .map((part) => (part === "*" || part.includes("-7") ? "{}" : part))
    .join("/");
  asked.add(`${(init?.method ?? "get").toUpperCase()} ${route}`);
  return fetch(url, init);
};

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "shelfmark-"));
  const file = path.join(folder, "catalog.shelf");
  server = spawn(
    binary,
    ["serve", "--file", file, "--listen", "127.0.0.1:0", "--dev-token", token, "--no-rate-limit"],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, RUST_LOG: "warn" } },
  );
  const host = await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    server.stdout.once("data", (line) => resolve(String(line).trim().replace("listening on ", "")));
  });
  options = { hostConfig: { authType: "apikey", host, apiKey: token }, noCache: true };
});

after(async () => {
  server.removeAllListeners("exit");
  const ended = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGTERM");
  assert.equal(await ended, 0);
  await rm(folder, { recursive: true });
});

const newStore = (name) => ({ id: null, version: null, technicalName: name, type: "postgres" });
const newAsset = (name, store) => ({ technicalName: name, appType: "qix-df", dataStoreInfo: { id: store } });
const newSet = (name, asset) => ({
  technicalName: name,
  qri: `qdf:files:acme:${name}`,
  secureQri: `qri:${name}`,
  dataAssetInfo: { id: asset },
  schema: { dataFields: [{ name: "amount", dataType: { type: "DECIMAL", properties: { precision: 10, scale: 2 } } }] },
});

/** The error that a call rejects with. */
async function refused(call) {
  const error = await call.then(
    () => assert.fail("it succeeded"),
    (error) => error,
  );
  assert.ok(error.data?.errors?.length > 0, String(error));
  assert.match(error.data.traceId, /^[0-9a-f]{32}$/);
  return { status: error.status, code: error.data.errors[0].code };
}

/** What a kind's functions do with one entity. */
async function lives({ create, get, update, patch, remove }, input) {
  const created = await create(input, options);
  assert.equal(created.status, 201);
  assert.equal(created.data.version, 0);
  const { id } = created.data;
  assert.deepEqual((await get(id, {}, options)).data, created.data);
  assert.deepEqual((await get(id, { projections: ["technicalName", "version"] }, options)).data, {
    id,
    technicalName: input.technicalName,
    version: 0,
  });
  const updated = await update(id, { ...created.data, name: "Updated" }, options);
  assert.deepEqual([updated.status, updated.data.name, updated.data.version], [200, "Updated", 1]);
  assert.deepEqual(await refused(update(id, { ...created.data, name: "Late" }, options)), {
    status: 409,
    code: "VERSION_CONFLICT",
  });
  const patched = await patch(id, [{ op: "replace", path: "/name", value: "Patched" }], options);
  assert.deepEqual([patched.status, patched.data.name, patched.data.version], [200, "Patched", 2]);
  assert.deepEqual(await refused(patch(id, [{ op: "test", path: "/version", value: 7 }], options)), {
    status: 409,
    code: "PATCH_TEST_FAILED",
  });
  assert.deepEqual(await refused(create({}, options)), { status: 400, code: "INVALID" });
  const removed = await remove({ ids: [id] }, options);
  assert.equal(removed.status, 204);
  assert.deepEqual(await refused(get(id, {}, options)), { status: 404, code: "NOT_FOUND" });
}

test("one entity of each kind lives and goes", async () => {
  const store = (await stores.createDataStore(newStore("lives"), options)).data.id;
  const asset = (await assets.createDataAsset(newAsset("lives", store), options)).data.id;
  await lives(
    {
      create: stores.createDataStore,
      get: stores.getDataStore,
      update: stores.updateDataStore,
      patch: stores.patchDataStore,
      remove: stores.deleteDataStores,
    },
    newStore("a_store"),
  );
  await lives(
    {
      create: assets.createDataAsset,
      get: assets.getDataAsset,
      update: assets.updateDataAsset,
      patch: assets.patchDataAsset,
      remove: assets.deleteDataAssets,
    },
    newAsset("an_asset", store),
  );
  await lives(
    {
      create: sets.createDataSet,
      get: sets.getDataSet,
      update: sets.updateDataSet,
      patch: sets.patchDataSet,
      remove: sets.deleteDataSets,
    },
    newSet("a_set", asset),
  );
  assert.deepEqual(await refused(stores.deleteDataStores({ ids: [store] }, options)), {
    status: 409,
    code: "NOT_EMPTY",
  });
});

/** All entities of a list, page by page. */
async function walk(first) {
  const all = [];
  let pages = 0;
  for (let page = first; page; page = await page.next?.(options)) {
    assert.equal(page.status, 200);
    all.push(...page.data.data.map((entity) => entity.technicalName));
    pages += 1;
  }
  return { all, pages };
}

test("lists are walked by next and back by prev", async () => {
  const ids = [];
  const expected = [];
  for (let number = 0; number < 3; number += 1) {
    const store = (await stores.createDataStore(newStore(`walked_${number}`), options)).data.id;
    ids.push(store);
    for (let each = 0; each < 3; each += 1) {
      const name = `walked_${number}_${each}`;
      const asset = (await assets.createDataAsset(newAsset(name, store), options)).data.id;
      await sets.createDataSet(newSet(name, asset), options);
      if (number < 2) expected.push(name);
    }
  }
  const [one, two] = ids;
  const query = { limit: 4, sort: ["technicalName"], projections: ["technicalName"] };
  const ofAssets = await walk(await stores.getDataStoreDataAssets([one, two], query, options));
  assert.deepEqual(ofAssets, { all: expected, pages: 2 });
  const descending = { ...query, sort: ["-technicalName", "+id"] };
  const ofSets = await walk(await stores.getDataStoreDataAssetDataSets([one, two], ["*"], descending, options));
  assert.deepEqual(ofSets, { all: [...expected].reverse(), pages: 2 });
  const ofStores = await walk(await stores.getDataStores({ limit: 2 }, options));
  assert.equal(ofStores.all.length, 4);

  const first = await stores.getDataStoreDataAssets([one, two], query, options);
  const second = await first.next(options);
  assert.deepEqual((await second.prev(options)).data.data, first.data.data);
  assert.equal(second.next, undefined);
  assert.equal(first.prev, undefined);
  assert.deepEqual(await refused(stores.getDataStores({ limit: 0 }, options)), { status: 400, code: "INVALID" });
  assert.deepEqual(await refused(stores.getDataStores({ sort: ["nothing"] }, options)), {
    status: 400,
    code: "INVALID",
  });

  // Selectors, down to nothing.
  const page = await stores.getDataStoreDataAssets([two], {}, options);
  const asset = page.data.data[0].id;
  assert.equal((await stores.deleteDataStoreDataAssetDataSets([two], [asset], options)).status, 204);
  const left = await stores.getDataStoreDataAssetDataSets([two], ["*"], {}, options);
  assert.equal(left.data.total, 2);
  assert.equal((await stores.deleteDataStoreDataAssets(["*"], options)).status, 204);
  assert.equal((await stores.getDataStoreDataAssetDataSets(["*"], ["*"], {}, options)).data.total, 0);
  assert.equal((await stores.deleteDataStores({ ids }, options)).status, 204);
});

test("a token that is not known is refused", async () => {
  const hostConfig = { ...options.hostConfig, apiKey: "another" };
  assert.deepEqual(await refused(stores.getDataStores({}, { ...options, hostConfig })), {
    status: 401,
    code: "UNAUTHORIZED",
  });
});

test("all twenty routes were asked", () => {
  const routes = [...asked].filter((route) => route.includes("/api/v1/data-"));
  assert.equal(routes.length, 20, routes.join("\n"));
});
