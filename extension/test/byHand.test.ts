/** When no teacher could do a step: the question, and the user's own text as its answer. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { helpNeeded, SESSION } from "./fakeServer";
import { diffs, newStage, rightSide, settled, type Stage } from "./stage";

const RETRY = 0;
const SKIP = 1;
const BY_HAND = 2;
const MINE = "print('by hand')\n";

let stage: Stage;

/** A session that got stuck, with a question that the user answers like this. */
async function stuck(...answers: unknown[]): Promise<void> {
  stage.editor.answers = answers;
  stage.server.event(helpNeeded());
  await settled();
}

beforeEach(async () => {
  stage = newStage();
  await stage.begin("greet", "document");
});

afterEach(() => stage.close());

describe("the question how to go on", () => {
  test("stands when it is put off, and comes back", async () => {
    await stuck(undefined);
    assert.deepEqual(stage.editor.shown, ["No teacher could."]);
    assert.equal(stage.server.last("help"), undefined);
    stage.editor.answers = [SKIP];
    await stage.run("showProposal", SESSION);
    assert.deepEqual(stage.server.last("help"), { session: SESSION, choice: "skip", script: null });
  });

  test("is not answered any more once the session went on", async () => {
    let choose: (item: unknown) => void = () => undefined;
    await stuck(() => new Promise((resolve) => (choose = resolve)));
    stage.server.event({ kind: "step_started", step: 1, text: "document" });
    stage.server.event(helpNeeded({ step: 1 }));
    choose({ choice: "skip" });
    await settled();
    assert.equal(stage.server.last("help"), undefined);
  });
});

describe("editing by hand", () => {
  beforeEach(() => stuck(BY_HAND));

  test("is a diff of the document and what the agents work on, which the keys and menus know", () => {
    assert.deepEqual(diffs(stage), ["greet.py: step 1/2, by hand"]);
    assert.equal(rightSide(stage).text, "print('hello', 'you')\n");
    assert.deepEqual(stage.editor.context.get("precisionShaking.handResources"), [rightSide(stage).uri.toString()]);
  });

  test("takes the proposal's place", async () => {
    stage.server.propose();
    await settled();
    await stuck(BY_HAND);
    assert.deepEqual(diffs(stage), ["greet.py: step 1/2, by hand"]);
  });

  test("ends with the user's text, once; the diff goes when the step is accepted", async () => {
    stage.editor.type(rightSide(stage), MINE);
    await stage.run("useMyVersion", rightSide(stage).uri);
    assert.deepEqual(stage.server.last("help"), { session: SESSION, choice: "retry", script: MINE });
    assert.deepEqual(stage.editor.context.get("precisionShaking.handResources"), []);
    const asked = stage.server.asked.length;
    await stage.run("useMyVersion", SESSION);
    assert.equal(stage.server.asked.length, asked);
    stage.server.event({ kind: "step_accepted", step: 0, script: MINE, rows: 1 });
    await settled();
    assert.deepEqual(diffs(stage), []);
  });

  test("what the server refuses is told, and the text can be sent again", async () => {
    stage.editor.type(rightSide(stage), MINE);
    stage.server.answers.help = () => Promise.reject(new Error("Your text cannot be used."));
    await stage.run("useMyVersion", SESSION);
    assert.equal(stage.editor.shown.at(-1), "Your text cannot be used.");
    stage.server.answers.help = {};
    await stage.run("useMyVersion", SESSION);
    assert.equal((stage.server.last("help") as { script: string }).script, MINE);
  });

  test("a document that changed meanwhile is shown with the user's text merged into it", async () => {
    stage.editor.type(rightSide(stage), MINE);
    stage.server.answers.help = () => {
      stage.server.event(helpNeeded({ base: "print('mars')\n", script: `${MINE}# merged\n` }));
      return Promise.reject(new Error("Changed in the same lines."));
    };
    await stage.run("useMyVersion", SESSION);
    await settled();
    assert.deepEqual(stage.editor.shown, ["No teacher could.", "Changed in the same lines."]);
    stage.server.answers.help = {};
    await stage.run("useMyVersion", SESSION);
    assert.equal((stage.server.last("help") as { script: string }).script, `${MINE}# merged\n`);
  });

  test("Back asks again, and keeps the text", async () => {
    stage.editor.type(rightSide(stage), MINE);
    stage.editor.answers = [BY_HAND];
    await stage.run("backToQuestion", SESSION);
    assert.deepEqual(stage.editor.shown, ["No teacher could.", "No teacher could."]);
    assert.equal(rightSide(stage).text, MINE);
    stage.editor.answers = [RETRY];
    await stage.run("backToQuestion", SESSION);
    assert.deepEqual(stage.server.last("help"), { session: SESSION, choice: "retry", script: null });
    assert.deepEqual(diffs(stage), []);
  });
});

test("without a step to do by hand, the command says so", async () => {
  await stage.run("useMyVersion");
  assert.deepEqual(stage.editor.shown, ["No step waits to be done by hand."]);
});
