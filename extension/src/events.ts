/**
 * What a session tells its audience: the mirror of `sape/events.py`.
 *
 * Steps are counted from 0, cycles from 1. The engine's own snake_case names stay as they are on the wire.
 */

import { flag, type Guard, type Guarded, list, nullable, number, oneOf, shape, text } from "./shape";

export const verdict = oneOf("accepted", "redo", "further_edit");
export type Verdict = Guarded<typeof verdict>;

export const helpChoice = oneOf("retry", "skip", "stop");
export type HelpChoice = Guarded<typeof helpChoice>;

/** One guard per kind of event, by the event's `kind`. */
export const EVENT_SHAPES = {
  /** A session began; `teachers` is the pool in the order it is used. */
  session_started: shape({
    kind: oneOf("session_started"),
    session: text,
    document: text,
    request: text,
    teachers: list(text),
  }),
  /** An agent was asked; `step` and `cycle` are null while planning. */
  agent_started: shape({
    kind: oneOf("agent_started"),
    agent: text,
    teacher: text,
    step: nullable(number),
    cycle: nullable(number),
  }),
  /** A piece of an agent's answer, while it is being written. */
  agent_text: shape({ kind: oneOf("agent_text"), agent: text, field: text, text }),
  /** An agent answered, whether readable or not. */
  agent_finished: shape({
    kind: oneOf("agent_finished"),
    agent: text,
    teacher: text,
    seconds: number,
    input_tokens: nullable(number),
    output_tokens: nullable(number),
  }),
  /** A teacher failed, and will be asked again in so many seconds; `why` is a sentence, `trouble` the same in a word. */
  teacher_waiting: shape({ kind: oneOf("teacher_waiting"), teacher: text, seconds: number, why: text, trouble: text }),
  /** The change request was divided into these steps. */
  plan_ready: shape({ kind: oneOf("plan_ready"), steps: list(text) }),
  /** Work on a step began. */
  step_started: shape({ kind: oneOf("step_started"), step: number, text }),
  /** The lead wrote the worker's instruction for this cycle. */
  instruction_ready: shape({ kind: oneOf("instruction_ready"), step: number, cycle: number, instruction: text }),
  /** The worker's answer cannot be used; it is neither shown nor a label. */
  answer_unreadable: shape({
    kind: oneOf("answer_unreadable"),
    step: number,
    cycle: number,
    teacher: text,
    why: text,
  }),
  /** An attempt was run in the sandbox; `detail` is one sentence for the user where it did not simply work. */
  attempt_executed: shape({
    kind: oneOf("attempt_executed"),
    step: number,
    cycle: number,
    attempt: text,
    outcome: text,
    exit_code: nullable(number),
    output: text,
    seconds: number,
    backend: text,
    detail: text,
  }),
  /** A script waits for the user's answer; the editor is told by the `proposal` message. `warnings`: what no diff shows. */
  proposal_ready: shape({
    kind: oneOf("proposal_ready"),
    step: number,
    cycle: number,
    attempt: text,
    base: text,
    script: text,
    reasoning: text,
    teacher: text,
    outcome: text,
    output: text,
    unclear: flag,
    warnings: list(text),
  }),
  /** The user's answer was understood; `decided_by` is `user` (a button) or `analyzer` (free words). */
  feedback_read: shape({
    kind: oneOf("feedback_read"),
    attempt: text,
    verdict: text,
    decided_by: text,
    words: text,
  }),
  /** A dataset row was stored; `rows` counts what this session has written so far. */
  row_written: shape({
    kind: oneOf("row_written"),
    step: number,
    reason: nullable(text),
    soft_labels: flag,
    rows: number,
  }),
  /** A step was accepted with this text. */
  step_accepted: shape({ kind: oneOf("step_accepted"), step: number, script: text, rows: number }),
  /** A step was accepted before its session broke off: the document was left with this text, or almost. */
  step_restored: shape({ kind: oneOf("step_restored"), step: number, script: text }),
  /** The worker moved on to this teacher. */
  teacher_switched: shape({ kind: oneOf("teacher_switched"), step: number, teacher: text }),
  /** Every teacher failed at the step; `choices` are what the user may answer. */
  help_needed: shape({
    kind: oneOf("help_needed"),
    step: number,
    text,
    choices: list(helpChoice),
    base: text,
    script: text,
  }),
  /** The session ended (`done` or `abandoned`); `cost_usd` leaves out the unpriced calls and is null without any other. */
  session_finished: shape({
    kind: oneOf("session_finished"),
    session: text,
    status: text,
    script: text,
    rows: number,
    soft_labels: number,
    calls: number,
    input_tokens: number,
    output_tokens: number,
    seconds: number,
    cost_usd: nullable(number),
    unpriced_calls: number,
  }),
  /** The session cannot go on; `message` is one sentence for the user. */
  session_failed: shape({ kind: oneOf("session_failed"), session: text, message: text }),
  /** Texts without soft labels are scored while nothing else is done, after the session's end too; `waiting` are left. */
  scoring: shape({ kind: oneOf("scoring"), session: text, teacher: text, waiting: number, rows: number, soft_labels: number }),
  /** Texts stay without soft labels; the server has said why, and the session goes on. */
  scoring_failed: shape({ kind: oneOf("scoring_failed"), session: text, message: text }),
} as const;

type Kind = keyof typeof EVENT_SHAPES;
export type EventOf<K extends Kind> = Guarded<(typeof EVENT_SHAPES)[K]>;
export type SessionEvent = { [K in Kind]: EventOf<K> }[Kind];

/** Whether this is an event that this version knows; others are let pass unread. */
export const isSessionEvent: Guard<SessionEvent> = (value): value is SessionEvent => {
  const kind = (value as { kind?: unknown } | null)?.kind;
  return typeof kind === "string" && Object.hasOwn(EVENT_SHAPES, kind) && EVENT_SHAPES[kind as Kind](value);
};
