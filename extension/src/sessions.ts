/** What the editor knows of the running sessions: a pure reduction of events. Nothing here touches the editor. */

import type { EventOf, SessionEvent, Verdict } from "./events";
import type { Proposal } from "./protocol";

/** What became of an attempt. */
export type Fate = "running" | "failed" | "waiting" | "accepted" | "redo" | "further_edit" | "dropped";

export interface Attempt {
  readonly uid: string;
  readonly cycle: number;
  readonly fate: Fate;
  readonly outcome: string;
  readonly output: string;
  /** There once the attempt was shown; a script that failed is not. */
  readonly proposal?: Proposal;
}

export interface Step {
  readonly text: string;
  readonly state: "pending" | "current" | "accepted" | "skipped";
  readonly attempts: readonly Attempt[];
}

/** What a session is doing: an agent works, the user is asked, the last teacher failed, or it is over. */
export type Phase = "thinking" | "waiting" | "stuck" | "over";

/** A teacher could not answer and is waited for. */
export type Pause = EventOf<"teacher_waiting">;

export interface Session {
  readonly uid: string;
  readonly uri: string;
  readonly request: string;
  readonly phase: Phase;
  readonly steps: readonly Step[];
  /** Index of the current step, -1 before there is a plan. */
  readonly step: number;
  readonly cycle: number;
  /** Who works now, in a few words: "worker is writing". */
  readonly doing: string;
  readonly teacher: string;
  readonly proposal?: Proposal;
  /** What the user was asked when the last teacher had failed. */
  readonly help?: EventOf<"help_needed">;
  /** There only while a teacher is waited for. */
  readonly pause?: Pause;
  readonly rows: number;
  readonly status: string;
}

export function newSession(uid: string, uri: string, request = ""): Session {
  return {
    uid,
    uri,
    request,
    phase: "thinking",
    steps: [],
    step: -1,
    cycle: 1,
    doing: "starting",
    teacher: "",
    rows: 0,
    status: "",
  };
}

const DOING: Readonly<Record<string, string>> = {
  planner: "planner is planning",
  lead: "lead is writing the instruction",
  worker: "worker is writing",
  analyzer: "analyzer is reading your words",
};

/** What a verdict makes of its attempt; one that could not be read changes nothing. */
const FATES: Readonly<Record<string, Fate>> = { accepted: "accepted", redo: "redo", further_edit: "further_edit" };

/** The session after an event; the same object where nothing changed. */
export function apply(session: Session, event: SessionEvent): Session {
  // Whatever else happens, the teacher is not waited for any more.
  return reduce(endPause(session), event);
}

/** The session after a pause was over. */
export function endPause(session: Session): Session {
  return session.pause ? { ...session, pause: undefined } : session;
}

function reduce(session: Session, event: SessionEvent): Session {
  switch (event.kind) {
    case "session_started":
      // A session that is resumed begins anew here.
      return newSession(session.uid, session.uri, event.request);
    case "agent_started":
      return {
        ...session,
        phase: "thinking",
        doing: DOING[event.agent] ?? `${event.agent} is working`,
        teacher: event.teacher,
        cycle: event.cycle ?? session.cycle,
      };
    case "agent_finished":
      return event.agent === "worker" ? { ...session, doing: "running the script" } : session;
    case "plan_ready":
      return { ...session, steps: event.steps.map((text) => ({ text, state: "pending", attempts: [] })) };
    case "step_started":
      return { ...session, step: event.step, cycle: 1, steps: openStep(session.steps, event.step) };
    case "instruction_ready":
      return { ...session, cycle: event.cycle };
    case "answer_unreadable":
      return { ...session, doing: "asking again: the answer was not readable" };
    case "attempt_executed":
      return withAttempt(session, event.step, {
        uid: event.attempt,
        cycle: event.cycle,
        fate: event.outcome === "script_error" ? "failed" : "running",
        outcome: event.outcome,
        output: event.output || event.detail,
      });
    case "feedback_read":
      return withFate(answered(session), event.attempt, FATES[event.verdict]);
    case "row_written":
      return { ...session, rows: event.rows };
    case "step_accepted":
      return without(acceptedStep(session, event.step));
    case "step_restored":
      return acceptedStep(session, event.step);
    case "teacher_waiting":
      return { ...session, teacher: event.teacher, pause: event };
    case "teacher_switched":
      return { ...session, teacher: event.teacher };
    case "help_needed":
      return { ...without(session), phase: "stuck", doing: "no teacher could do this step", help: event };
    case "session_finished":
      return { ...end(session), status: event.status, rows: event.rows };
    case "session_failed":
      return { ...end(session), status: "failed" };
    case "agent_text":
    case "proposal_ready":
    case "scoring":
    case "scoring_failed":
      return session;
  }
}

/** The session after a proposal arrived, for the first time or again. */
export function propose(session: Session, proposal: Proposal): Session {
  const attempt: Attempt = {
    uid: proposal.attempt,
    cycle: proposal.cycle,
    fate: "waiting",
    outcome: proposal.outcome,
    output: proposal.output,
    proposal,
  };
  const told = { ...session, phase: "waiting" as const, cycle: proposal.cycle, doing: "waiting for your answer", proposal };
  return withAttempt(told, proposal.step, attempt);
}

/** The session after the user answered, before anybody confirmed it: a second click finds nothing to answer. */
export function answered(session: Session): Session {
  return { ...session, phase: "thinking", doing: "taking your answer" };
}

/** The session after the user corrected what was read of their words about an attempt; it goes on as it was. */
export function corrected(session: Session, attempt: string, verdict: Verdict): Session {
  return withFate(session, attempt, verdict);
}

/** Whether the session will still do something. */
export function isRunning(session: Session): boolean {
  return session.phase !== "over";
}

function end(session: Session): Session {
  const ended = session.phase === "waiting" ? withFate(session, session.proposal?.attempt, "dropped") : session;
  return { ...without(ended), phase: "over", doing: "" };
}

function without(session: Session): Session {
  return { ...session, proposal: undefined, help: undefined };
}

function openStep(steps: readonly Step[], current: number): readonly Step[] {
  return steps.map((step, index) => {
    if (index === current) {
      return { ...step, state: "current" };
    }
    // A step that was left without being accepted was skipped.
    return index < current && step.state !== "accepted" ? { ...step, state: "skipped" } : step;
  });
}

function acceptedStep(session: Session, at: number): Session {
  const told = withFate(session, session.proposal?.attempt, "accepted");
  return { ...told, steps: told.steps.map((step, index) => (index === at ? { ...step, state: "accepted" } : step)) };
}

function withAttempt(session: Session, at: number, attempt: Attempt): Session {
  const steps = session.steps.map((step, index) => {
    if (index !== at) {
      return step;
    }
    const others = step.attempts.filter((other) => other.uid !== attempt.uid);
    return { ...step, attempts: [...others, attempt].sort((a, b) => a.cycle - b.cycle) };
  });
  return { ...session, steps };
}

function withFate(session: Session, uid: string | undefined, fate: Fate | undefined): Session {
  if (uid === undefined || fate === undefined) {
    return session;
  }
  const steps = session.steps.map((step) => ({
    ...step,
    attempts: step.attempts.map((attempt) => (attempt.uid === uid ? { ...attempt, fate } : attempt)),
  }));
  return { ...session, steps };
}
