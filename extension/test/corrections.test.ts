/** What the analyzer read can be put right with one click, at once and later. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { type PlanNode, sessionNode } from "../src/planView";
import { answered, apply, corrected, newSession, propose } from "../src/sessions";
import { proposalOf, SESSION, URI } from "./fakeServer";
import { newStage, settled, type Stage } from "./stage";

let stage: Stage;

beforeEach(async () => {
  stage = newStage();
  await stage.begin("greet", "document");
  stage.server.propose();
  await settled();
});

afterEach(() => stage.close());

/** The engine tells how the user's answer was understood. */
async function read(verdict: string, by: string): Promise<void> {
  stage.server.event({ kind: "feedback_read", attempt: "attempt-1", verdict, decided_by: by, words: "hm" });
  await settled();
}

const MEANT_FURTHER = { session: SESSION, attempt: "attempt-1", verdict: "further_edit" };

describe("what was read from words", () => {
  test("is told, and another button corrects it", async () => {
    stage.editor.answers = ["Further Edit"];
    await read("redo", "analyzer");
    assert.equal(stage.editor.shown[0], "Read as: redo.");
    assert.deepEqual(stage.server.last("correct"), MEANT_FURTHER);
    assert.equal(stage.editor.shown[1], "Noted as further edit in your dataset. The session itself goes on as it was read.");
    assert.deepEqual(stage.server.last("datasetStats"), {});
  });

  test("stays when the message is closed", async () => {
    await read("accepted", "analyzer");
    assert.deepEqual(stage.editor.shown, ["Read as: accepted."]);
    assert.equal(stage.server.last("correct"), undefined);
  });

  test("is asked about only when it was read: a button, and words that say nothing, are no reading", async () => {
    await read("redo", "user");
    await read("unclear", "analyzer");
    assert.deepEqual(stage.editor.shown, []);
  });

  test("can be corrected when the session is over", async () => {
    stage.editor.answers = [
      (): string => {
        stage.server.event({ kind: "session_failed", session: SESSION, message: "The key was refused." });
        return "Redo";
      },
    ];
    await read("accepted", "analyzer");
    assert.equal(stage.editor.shown.at(-1), "Noted as redo in your dataset.");
  });

  test("stays as it is when the server refuses the correction", async () => {
    stage.editor.answers = ["Redo"];
    stage.server.answers.correct = () => Promise.reject(new Error("The dataset is locked."));
    await read("accepted", "analyzer");
    assert.deepEqual(stage.editor.shown, ["Read as: accepted.", "The dataset is locked."]);
    assert.equal(lines().some(({ icon }) => icon === "discard"), false);
  });
});

describe("an attempt of the plan", () => {
  const line = { id: `${SESSION}/attempt-1` };

  test("is corrected from its menu, whoever had decided, and shows it", async () => {
    await read("redo", "user");
    stage.editor.answers = [1];
    await stage.run("correct", line);
    assert.deepEqual(stage.server.last("correct"), MEANT_FURTHER);
    assert.match(lines().find(({ id }) => id === line.id)?.description ?? "", /^edited further/);
  });

  test("is not, when the user thinks better of it", async () => {
    await read("redo", "user");
    await stage.run("correct", line);
    assert.equal(stage.server.last("correct"), undefined);
  });

  test("has to be named", async () => {
    await stage.run("correct", undefined);
    await stage.run("correct", { id: `${SESSION}/attempt-9` });
    assert.match(stage.editor.shown.join(), /Choose the attempt/);
    assert.equal(stage.server.last("correct"), undefined);
  });

  test("has the menu once it was answered, and not before", () => {
    const planned = apply(newSession(SESSION, URI), { kind: "plan_ready", steps: ["greet"] });
    const waiting = propose(planned, proposalOf());
    assert.deepEqual(contexts(sessionNode(waiting)), ["attemptShown"]);
    assert.deepEqual(contexts(sessionNode(corrected(answered(waiting), "attempt-1", "redo"))), ["attemptAnswered"]);
  });
});

function lines(): PlanNode[] {
  const plan = stage.editor.providers.get("precisionShaking.plan") as { getChildren(node?: PlanNode): PlanNode[] };
  const below = (node: PlanNode): PlanNode[] => [node, ...plan.getChildren(node).flatMap(below)];
  return plan.getChildren().flatMap(below);
}

function contexts(session: PlanNode): string[] {
  return session.children.flatMap((step) => step.children.map(({ context }) => context));
}
