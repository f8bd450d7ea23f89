/** Both sides of the wire read the same samples: what one of them changes alone fails here. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import * as path from "node:path";
import { describe, test } from "node:test";

import { EVENT_SHAPES, isSessionEvent } from "../src/events";
import { MESSAGES, serverSettings } from "../src/protocol";
import type { Shape } from "../src/shape";

const SAMPLES = path.join(__dirname, "..", "..", "tests", "protocol");

interface Sample {
  readonly method: string;
  readonly params: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
}

describe("every message's sample fits its guard, field by field", () => {
  const samples = read("").map(({ name, json }) => ({ name, json: json as Sample }));
  for (const { name, json } of samples) {
    test(name, () => {
      const message = MESSAGES.find(({ method }) => method === json.method);
      assert.ok(message, `${json.method} is not in protocol.ts`);
      fits(message.params, json.params);
      assert.equal("result" in message, json.result !== undefined);
      if ("result" in message) {
        fits(message.result, json.result ?? {});
      }
    });
  }

  test("no message lacks a sample", () => {
    const sampled = samples.map(({ json }) => json.method).sort();
    assert.deepEqual(MESSAGES.map(({ method }) => method).sort(), sampled);
  });
});

describe("every event's sample fits its guard, field by field", () => {
  const samples = read("events").map(({ name, json }) => ({ name, json: json as { kind: string } }));
  for (const { name, json } of samples) {
    test(name, () => {
      assert.ok(isSessionEvent(json), `${json.kind} is not in events.ts, or has other fields`);
      fits(EVENT_SHAPES[json.kind], json);
    });
  }

  test("no event lacks a sample", () => {
    assert.deepEqual(Object.keys(EVENT_SHAPES).sort(), samples.map(({ json }) => json.kind).sort());
  });
});

test("the server's settings are the ones of the sample", () => {
  const [sample] = read("settings");
  const { clientCommands, ...settings } = sample?.json as Record<string, unknown>;
  assert.equal(clientCommands, true);
  fits(serverSettings, settings);
});

describe("what does not fit is not believed", () => {
  test("an event of an unknown kind", () => {
    assert.equal(isSessionEvent({ kind: "toString" }), false);
    assert.equal(isSessionEvent(null), false);
    assert.equal(isSessionEvent("plan_ready"), false);
  });
  test("a missing field and a field of another type", () => {
    assert.equal(isSessionEvent({ kind: "plan_ready" }), false);
    assert.equal(isSessionEvent({ kind: "plan_ready", steps: [1] }), false);
  });
  test("a field that only a newer server knows is let through", () => {
    assert.equal(isSessionEvent({ kind: "plan_ready", steps: [], thoughts: "many" }), true);
  });
});

function fits(shape: Shape<unknown>, value: Record<string, unknown>): void {
  assert.ok(shape(value), JSON.stringify(value));
  assert.deepEqual([...shape.keys].sort(), Object.keys(value).sort());
}

function read(folder: string): { name: string; json: unknown }[] {
  const files = readdirSync(path.join(SAMPLES, folder)).filter((name) => name.endsWith(".json"));
  return files.map((name) => ({ name, json: JSON.parse(readFileSync(path.join(SAMPLES, folder, name), "utf8")) as unknown }));
}
