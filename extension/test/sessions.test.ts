import assert from "node:assert/strict";
import { describe, test } from "node:test";

import type { EventOf, SessionEvent } from "../src/events";
import { answered, apply, newSession, propose, type Session } from "../src/sessions";
import { helpNeeded, proposalOf } from "./fakeServer";

const PLANNED = after(
  newSession("session-1", "file:///home/user/greet.py"),
  { kind: "session_started", session: "session-1", document: "file:///home/user/greet.py", request: "greet", teachers: ["a/b"] },
  { kind: "agent_started", agent: "planner", teacher: "a/b", step: null, cycle: null },
  { kind: "plan_ready", steps: ["one", "two"] },
  { kind: "step_started", step: 0, text: "one" },
);

describe("a session follows its events", () => {
  test("planning and the first step", () => {
    assert.equal(PLANNED.request, "greet");
    assert.equal(PLANNED.step, 0);
    assert.deepEqual(states(PLANNED), ["current", "pending"]);
  });

  test("who works is said, and where", () => {
    const working = after(PLANNED, { kind: "agent_started", agent: "worker", teacher: "c/d", step: 0, cycle: 2 });
    assert.deepEqual([working.doing, working.teacher, working.cycle], ["worker is writing", "c/d", 2]);
    const written = after(working, {
      kind: "agent_finished",
      agent: "worker",
      teacher: "c/d",
      seconds: 1,
      input_tokens: null,
      output_tokens: 3,
    });
    assert.equal(written.doing, "running the script");
  });

  test("text that streams in changes nothing that is shown", () => {
    assert.equal(apply(PLANNED, { kind: "agent_text", agent: "worker", field: "script", text: "x" }), PLANNED);
  });

  test("a script that failed is an attempt that cannot be shown; one that runs waits", () => {
    const failed = after(PLANNED, executed("attempt-0", 1, "script_error"));
    const waiting = propose(after(failed, executed("attempt-1", 2, "ok")), proposalOf({ cycle: 2 }));
    assert.deepEqual(fates(waiting), ["failed", "waiting"]);
    assert.equal(waiting.phase, "waiting");
    assert.equal(waiting.steps[0]?.attempts[0]?.proposal, undefined);
  });

  test("a verdict is the attempt's fate, and one that could not be read is not", () => {
    const waiting = propose(PLANNED, proposalOf());
    assert.deepEqual(fates(after(waiting, read("redo"))), ["redo"]);
    assert.deepEqual(fates(after(waiting, read("unclear"))), ["waiting"]);
  });

  test("an accepted step is followed by the next, a skipped one is called so", () => {
    const accepted = after(
      propose(PLANNED, proposalOf()),
      { kind: "step_accepted", step: 0, script: "x", rows: 1 },
      { kind: "step_started", step: 1, text: "two" },
    );
    assert.deepEqual(states(accepted), ["accepted", "current"]);
    assert.deepEqual(fates(accepted), ["accepted"]);
    assert.equal(accepted.proposal, undefined);
    assert.deepEqual(states(after(PLANNED, { kind: "step_started", step: 1, text: "two" })), ["skipped", "current"]);
  });

  test("when the last teacher failed, the question is kept", () => {
    const stuck = after(PLANNED, helpNeeded({ choices: ["retry", "stop"] }));
    assert.deepEqual([stuck.phase, stuck.help?.choices], ["stuck", ["retry", "stop"]]);
  });

  test("a proposal that nobody answered is dropped when the session ends, and one that was answered is not", () => {
    const over: SessionEvent = { kind: "session_failed", session: "session-1", message: "gone" };
    const waiting = propose(PLANNED, proposalOf());
    assert.deepEqual(fates(after(waiting, over)), ["dropped"]);
    assert.deepEqual(fates(after(answered(waiting), read("redo"), over)), ["redo"]);
    assert.equal(after(waiting, over).phase, "over");
  });

  test("the same attempt may come again and stays one", () => {
    const twice = propose(propose(PLANNED, proposalOf()), proposalOf({ base: "other\n", unclear: true }));
    assert.deepEqual(fates(twice), ["waiting"]);
    assert.equal(twice.proposal?.base, "other\n");
  });
});

function after(session: Session, ...events: readonly SessionEvent[]): Session {
  return events.reduce(apply, session);
}

function executed(attempt: string, cycle: number, outcome: string): EventOf<"attempt_executed"> {
  return {
    kind: "attempt_executed",
    step: 0,
    cycle,
    attempt,
    outcome,
    exit_code: 0,
    output: "",
    seconds: 0.1,
    backend: "process",
    detail: "",
  };
}

function read(verdict: string): EventOf<"feedback_read"> {
  return { kind: "feedback_read", attempt: "attempt-1", verdict, decided_by: "analyzer", words: "hm" };
}

function states(session: Session): string[] {
  return session.steps.map(({ state }) => state);
}

function fates(session: Session): string[] {
  return session.steps.flatMap(({ attempts }) => attempts.map(({ fate }) => fate));
}
