/** A language server that answers as the test says, over a connection without a process. */

import type { EventOf, SessionEvent } from "../src/events";
import type { Proposal } from "../src/protocol";
import type { Connection } from "../src/server";

type Handler = (params: unknown) => unknown;
type Cancellation = { onCancellationRequested(listener: () => void): unknown } | undefined;

export const URI = "file:///home/user/greet.py";
export const SESSION = "Session-1";

export class FakeServer {
  starts = 0;
  stops = 0;
  /** Why it does not start. */
  failure: Error | undefined;
  readonly asked: { method: string; params: unknown }[] = [];
  readonly told: { method: string; params: unknown }[] = [];
  /** What is answered, by the last word of the method; a function may throw or wait. */
  answers: Record<string, unknown> = {
    instances: {
      instances: [
        { name: "script", title: "change a script", source: "shipped", files: [] },
        { name: "project", title: "change several files", source: "shipped", files: [URI] },
      ],
    },
    startSession: { session: SESSION },
    answer: { applied: false, message: "" },
    help: {},
    correct: {},
    stopSession: {},
    openSessions: { sessions: [] },
    resumeSession: { session: SESSION },
    abandonSession: {},
    startTraining: { status: "finished", output: "/students/one", metrics: { before: { kl: 0.91234 }, after: { kl: 0.41234 } } },
    makeWorker: { worker: "embedded//models/one/one-f16.gguf" },
    datasetStats: {
      path: "/home/dataset.db",
      sessions: 1,
      steps: 2,
      attempts: 3,
      rows: 2,
      openRows: 1,
      withRejected: 1,
      withSoftLabels: 2,
      byReason: { further_edit: 1 },
      byTeacher: { "embedded/smollm2": 2 },
      sizeBytes: 245_760,
    },
  };
  private readonly notified = new Map<string, Handler>();
  private readonly requested = new Map<string, Handler>();
  private workDone: ((message: string, percentage: number | undefined) => void) | undefined;
  private gone: (() => void) | undefined;

  readonly launch = (): Promise<Connection> => {
    this.starts += 1;
    if (this.failure) {
      return Promise.reject(this.failure);
    }
    const ignored = { dispose: () => undefined };
    return Promise.resolve({
      sendRequest: (method: string, params: unknown, token?: Cancellation) => this.answer(method, params, token),
      sendNotification: (method: string, params: unknown) => {
        this.told.push({ method, params });
        return Promise.resolve();
      },
      onNotification: (method: string, handler: Handler) => {
        this.notified.set(method, handler);
        return ignored;
      },
      onRequest: (method: string, handler: Handler) => {
        this.requested.set(method, handler);
        return ignored;
      },
      onWorkDone: (_token: string, report: (message: string, percentage: number | undefined) => void) => {
        this.workDone = report;
        return ignored;
      },
      onGone: (handler: () => void) => {
        this.gone = handler;
      },
      stop: () => {
        this.stops += 1;
        return Promise.resolve();
      },
    } as unknown as Connection);
  };

  /** Tell the extension that something happened in the session. */
  event(event: SessionEvent): void {
    this.notify("sessionEvent", { session: SESSION, uri: URI, event });
  }

  propose(changes: Partial<Proposal> = {}): void {
    this.notify("proposal", proposalOf(changes));
  }

  notify(name: string, params: unknown): void {
    this.notified.get(`precisionShaking/${name}`)?.(params);
  }

  ask(name: string, params: unknown): Promise<unknown> {
    return Promise.resolve(this.requested.get(`precisionShaking/${name}`)?.(params));
  }

  progress(message: string, percentage?: number): void {
    this.workDone?.(message, percentage);
  }

  crash(): void {
    this.gone?.();
  }

  /** The parameters of the last request of this name. */
  last(name: string): unknown {
    return this.asked.findLast(({ method }) => method === `precisionShaking/${name}`)?.params;
  }

  private answer(method: string, params: unknown, token: Cancellation): Promise<unknown> {
    this.asked.push({ method, params });
    const answer = this.answers[method.replace("precisionShaking/", "")];
    const said = answer as (params: unknown, token: Cancellation) => unknown;
    return Promise.resolve().then(() => (typeof answer === "function" ? said(params, token) : answer));
  }
}

export function proposalOf(changes: Partial<Proposal> = {}): Proposal {
  return {
    session: SESSION,
    uri: URI,
    attempt: "attempt-1",
    step: 0,
    steps: 2,
    cycle: 1,
    base: "print('hello')\n",
    proposed: "print('hello', 'world')\n",
    reasoning: "The world is greeted.",
    teacher: "embedded/smollm2",
    outcome: "ok",
    output: "hello world\n",
    unclear: false,
    warnings: [],
    files: [],
    ...changes,
  };
}

/** Every teacher failed at the first step. */
export function helpNeeded(changes: Partial<EventOf<"help_needed">> = {}): EventOf<"help_needed"> {
  return {
    kind: "help_needed",
    step: 0,
    text: "No teacher could.",
    choices: ["retry", "skip", "stop"],
    base: "print('hello')\n",
    script: "print('hello', 'you')\n",
    ...changes,
  };
}

/** What a session's calls took, as its last event tells it. */
export const USAGE = { calls: 4, input_tokens: 400, output_tokens: 90, seconds: 3.5, cost_usd: null, unpriced_calls: 4 };
