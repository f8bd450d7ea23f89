/** What the trees, the buttons and the status bar say of a session. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { EVENT_SHAPES, type SessionEvent } from "../src/events";
import { buttons, handButtons } from "../src/lenses";
import { type PlanNode, sessionNode } from "../src/planView";
import { answered, apply, newSession, propose, type Session } from "../src/sessions";
import { transcriptLine } from "../src/transcript";
import { count, diffTitle, fileName, outcomeText, size, statusText } from "../src/wording";
import { helpNeeded, proposalOf, SESSION, URI, USAGE } from "./fakeServer";

const EVENTS: readonly SessionEvent[] = [
  { kind: "plan_ready", steps: ["greet", "document"] },
  { kind: "step_started", step: 0, text: "greet" },
];
const PLANNED = EVENTS.reduce(apply, newSession(SESSION, URI, "greet the world"));
const WAITING = propose(PLANNED, proposalOf());

describe("the plan", () => {
  test("before there are steps it says who works", () => {
    assert.equal(sessionNode(newSession("s", URI, "greet")).description, "greet.py · starting");
  });

  test("steps and attempts carry what became of them", () => {
    const node = sessionNode(WAITING);
    assert.deepEqual(outline(node), [
      "greet the world [git-compare] sessionWaiting",
      "1. greet [arrow-circle-right] step",
      "Attempt 1 [git-compare] attemptShown",
      "2. document [circle-large-outline] step",
    ]);
    assert.equal(node.description, "greet.py · waiting for your answer step 1/2");
  });

  test("an attempt shows its diff, why it was written so, and what it printed", () => {
    const attempt = sessionNode(WAITING).children[0]?.children[0];
    assert.deepEqual(attempt?.command?.arguments, [SESSION, "attempt-1"]);
    assert.equal(attempt.tooltip, "The world is greeted.\n\nhello world\n");
    assert.equal(attempt.description, "waits for your answer, ran without errors");
  });

  test("a step that the user did by hand says so", () => {
    const accepted: SessionEvent = { kind: "step_accepted", step: 0, script: "x", rows: 1 };
    const redone = apply(WAITING, { kind: "feedback_read", attempt: "attempt-1", verdict: "redo", decided_by: "user", words: "" });
    assert.equal(sessionNode(apply(apply(redone, helpNeeded()), accepted)).children[0]?.description, "1 attempt, then by hand");
    assert.equal(sessionNode(apply(WAITING, accepted)).children[0]?.description, "1 attempt");
  });

  test("a session that is over says how it ended", () => {
    const over = apply(WAITING, { kind: "session_finished", session: "s", status: "abandoned", script: "", rows: 1, soft_labels: 0, ...USAGE });
    const node = sessionNode(over);
    assert.deepEqual([node.icon, node.description, node.context], ["circle-slash", "greet.py · abandoned, 1 row", "sessionOver"]);
  });

  test("every line has an identity of its own", () => {
    const ids = flat(sessionNode(WAITING)).map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  });
});

describe("the buttons on a proposal", () => {
  test("say the four answers, and how the script ran", () => {
    assert.deepEqual(titles(WAITING), [
      "$(check) Accept",
      "$(discard) Redo…",
      "$(edit) Further edit…",
      "$(comment) Feedback…",
      "$(debug-stop) Stop",
      "$(pass) It ran without errors",
    ]);
    const refused = propose(PLANNED, proposalOf({ outcome: "sandbox_denied" }));
    assert.equal(titles(refused).at(-1), "$(warning) It could not be run in the sandbox");
  });

  test("are the question how to go on when no teacher could do the step", () => {
    const stuck = apply(WAITING, helpNeeded());
    assert.deepEqual(titles(stuck), ["$(question) No teacher could do this step. How to go on?…", "$(debug-stop) Stop"]);
    assert.deepEqual(handButtons(stuck).map(({ title }) => title), ["$(check) Use my version", "$(arrow-left) Back", "$(debug-stop) Stop"]);
    assert.match(handButtons(answered(stuck))[0]?.title ?? "", /taking your answer/);
  });

  test("are gone while the answer is worked on", () => {
    assert.deepEqual(titles(answered(WAITING)), ["$(loading~spin) taking your answer…", "$(debug-stop) Stop"]);
  });
});

describe("words", () => {
  test("a document is called by its name, and an untitled one gets an ending", () => {
    assert.equal(fileName("file:///c%3A/my%20work/gr%C3%BC%C3%9Fe.py"), "grüße.py");
    assert.equal(fileName("untitled:Untitled-1"), "Untitled-1.py");
  });

  test("a diff is called by its step and attempt", () => {
    assert.equal(diffTitle(proposalOf({ step: 0, steps: 2, cycle: 2 })), "greet.py: step 1/2, attempt 2");
  });

  test("the status bar says who works or that the user is asked", () => {
    assert.equal(statusText(WAITING), "$(git-compare) waiting for your answer: step 1/2");
    assert.equal(statusText(newSession("s", URI)), "$(loading~spin) starting…");
  });

  test("numbers read like numbers", () => {
    assert.deepEqual([count(1, "row"), count(0, "row")], ["1 row", "0 rows"]);
    assert.deepEqual([0, 999, 245_760, 3_140_000_000].map(size), ["0 bytes", "999 bytes", "246 kB", "3.1 GB"]);
  });

  test("every outcome has words", () => {
    for (const outcome of ["ok", "script_error", "timeout", "limit", "sandbox_denied", "sandbox_unavailable", "cancelled"]) {
      assert.notEqual(outcomeText(outcome), outcome);
    }
  });
});

test("of every kind of event it is decided whether the transcript tells it", () => {
  const silent = Object.keys(EVENT_SHAPES).filter((kind) => transcriptLine(bare(kind)) === undefined);
  assert.deepEqual(silent, ["agent_text", "agent_finished", "proposal_ready"]);
});

/** An event with every field that any event has. */
function bare(kind: string): SessionEvent {
  const fields = { request: "", document: "", teachers: [], steps: [], step: 0, seconds: 1, detail: "", output: "", outcome: "ok", why: "" };
  return { kind, ...fields } as unknown as SessionEvent;
}

function titles(session: Session): string[] {
  return buttons(session).map(({ title }) => title);
}

function flat(node: PlanNode): PlanNode[] {
  return [node, ...node.children.flatMap(flat)];
}

function outline(node: PlanNode): string[] {
  return flat(node).map(({ label, icon, context }) => `${label} [${icon}] ${context}`);
}
