import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { datasetStats, proposal, startSession } from "../src/protocol";
import { ContractError, Server } from "../src/server";
import { SingleFlight } from "../src/singleFlight";
import { FakeServer, proposalOf } from "./fakeServer";

describe("single flight", () => {
  test("however often it is asked for during a run, it runs once more", async () => {
    let runs = 0;
    const gate = newGate();
    const flight = new SingleFlight(async () => {
      runs += 1;
      await gate.opened;
    });
    const first = flight.run();
    const others = [flight.run(), flight.run(), flight.run()];
    gate.open();
    await Promise.all([first, ...others]);
    assert.equal(runs, 2);
  });

  test("a run that failed does not keep the next one from running", async () => {
    let runs = 0;
    const flight = new SingleFlight(() => {
      runs += 1;
      return runs === 1 ? Promise.reject(new Error("no")) : Promise.resolve();
    });
    const first = flight.run();
    const second = flight.run();
    await assert.rejects(first, /no/);
    await second;
    await flight.run();
    assert.equal(runs, 3);
  });
});

describe("the server's life", () => {
  test("it starts with the first request, and once", async () => {
    const fake = new FakeServer();
    const server = serverOf(fake);
    assert.equal(fake.starts, 0);
    await Promise.all([server.request(datasetStats, {}), server.request(datasetStats, {})]);
    assert.equal(fake.starts, 1);
  });

  test("many restarts at once stop and start it as often as needed, never twice at a time", async () => {
    const fake = new FakeServer();
    const server = serverOf(fake);
    await server.ready();
    await Promise.all([server.restart(), server.restart(), server.restart()]);
    assert.deepEqual([fake.starts, fake.stops], [3, 2]);
    await server.dispose();
    assert.equal(fake.stops, 3);
  });

  test("handlers outlive a restart", async () => {
    const fake = new FakeServer();
    const server = serverOf(fake);
    const heard: string[] = [];
    server.onNotification(proposal, ({ attempt }) => void heard.push(attempt));
    await server.ready();
    await server.restart();
    fake.propose();
    assert.deepEqual(heard, ["attempt-1"]);
  });

  test("after a failed start the next request tries again", async () => {
    const fake = new FakeServer();
    let fails = true;
    const server = new Server(() => (fails ? Promise.reject(new Error("no Python")) : fake.launch()), ignore);
    await assert.rejects(server.request(datasetStats, {}), /no Python/);
    assert.equal(server.wasStarted, true);
    fails = false;
    assert.equal((await server.request(datasetStats, {})).rows, 2);
  });

  test("a server that comes up after the extension was closed is stopped", async () => {
    const fake = new FakeServer();
    const server = serverOf(fake);
    const ready = server.ready();
    await server.dispose().catch(ignore);
    await ready.catch(ignore);
    assert.equal(fake.stops, fake.starts);
  });
});

describe("what does not fit the contract", () => {
  test("a notification is reported and dropped", async () => {
    const fake = new FakeServer();
    const warnings: string[] = [];
    const server = new Server(fake.launch, (warning) => void warnings.push(warning));
    server.onNotification(proposal, () => assert.fail("it was believed"));
    await server.ready();
    fake.notify("proposal", { ...proposalOf(), step: "first" });
    assert.match(warnings.join(), /precisionShaking\/proposal/);
  });

  test("an answer is refused", async () => {
    const fake = new FakeServer();
    fake.answers.startSession = { sesion: "1" };
    await assert.rejects(serverOf(fake).request(startSession, { uri: "file:///a.py", request: "b", instance: null, files: [] }), ContractError);
  });
});

function serverOf(fake: FakeServer): Server {
  return new Server(fake.launch, (warning) => assert.fail(warning));
}

function newGate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = ignore;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    opened,
    open: () => {
      open();
    },
  };
}

function ignore(): void {
  // Nobody wants to know.
}
