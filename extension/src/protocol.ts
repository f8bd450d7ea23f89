/** The wire contract with the language server: the mirror of `lsp/protocol.py`, checked against `tests/protocol/`. */

import { helpChoice, verdict } from "./events";
import { anything, either, flag, type Guarded, list, nullable, number, record, shape, type Shape, text } from "./shape";

/** A message that is answered. */
export interface RequestMessage<P, R> {
  readonly method: string;
  readonly params: Shape<P>;
  readonly result: Shape<R>;
}

/** A message that is not answered. */
export interface NotificationMessage<P> {
  readonly method: string;
  readonly params: Shape<P>;
}

const nothing = shape({});

// Requests of the client

/**
 * The user wants to choose what a session on an open document is; first comes what is taken where nobody chooses.
 * `files` are those that an instance of several files begins with, where others can be chosen.
 */
export const instances = {
  method: "precisionShaking/instances",
  params: shape({ uri: text }),
  result: shape({ instances: list(shape({ name: text, title: text, source: text, files: list(text) })) }),
};
export type OfferedInstance = Guarded<typeof instances.result>["instances"][number];

/**
 * The user asked for a change of an open document; without an instance, of the one that the settings name.
 * `files` are the others that it may change, where the instance is of several.
 */
export const startSession = {
  method: "precisionShaking/startSession",
  params: shape({ uri: text, request: text, instance: nullable(text), files: list(text) }),
  result: shape({ session: text }),
};

/**
 * The user answered a proposal. `verdict` is the button they pressed; null lets the analyzer read `words`.
 * `proposed` is the right side of the diff, only where the user changed it; of several files, `files` are the changed
 * right sides. The result says whether the document
 * now holds the accepted text; an empty `message` needs no showing.
 */
export const answer = {
  method: "precisionShaking/answer",
  params: shape({ session: text, attempt: text, verdict: nullable(verdict), words: text, proposed: nullable(text), files: list(shape({ uri: text, text })) }),
  result: shape({ applied: flag, message: text }),
};

/** The user chose how to go on after every teacher failed at a step; `script` is their own solution of it. */
export const help = {
  method: "precisionShaking/help",
  params: shape({ session: text, choice: helpChoice, script: nullable(text) }),
  result: nothing,
};

/**
 * The user's words about an attempt were misread. Only the dataset changes: a running session goes on as it is,
 * and one that is over can be corrected too.
 */
export const correct = {
  method: "precisionShaking/correct",
  params: shape({ session: text, attempt: text, verdict }),
  result: nothing,
};

/** The user ended the session; its open proposal is never a label. */
export const stopSession = {
  method: "precisionShaking/stopSession",
  params: shape({ session: text }),
  result: nothing,
};

/** The user, or the editor that has just started, wants to know which sessions broke off; the newest first. */
export const openSessions = {
  method: "precisionShaking/openSessions",
  params: nothing,
  result: shape({
    sessions: list(
      shape({
        session: text,
        uri: text,
        request: text,
        createdAt: text,
        step: number,
        steps: number,
        text,
        teachers: list(text),
        problem: text,
      }),
    ),
  }),
};
export type OpenSession = Guarded<typeof openSessions.result>["sessions"][number];

/** The user wants a session to go on, on its open document; its plan and its proposal are told again. */
export const resumeSession = {
  method: "precisionShaking/resumeSession",
  params: shape({ session: text }),
  result: shape({ session: text }),
};

/** The user gives a session up that broke off; what was accepted stays. */
export const abandonSession = {
  method: "precisionShaking/abandonSession",
  params: shape({ session: text }),
  result: nothing,
};

/** The user wants the student trained. Answered when the training ended; cancelling it saves what was learned. */
export const startTraining = {
  method: "precisionShaking/startTraining",
  params: shape({ workDoneToken: nullable(either(text, number)) }),
  result: shape({ status: text, output: text, metrics: record(anything) }),
};

/** The user wants a model of what a training learned (null: the last one) that a session's worker can ask. */
export const makeWorker = {
  method: "precisionShaking/makeWorker",
  params: shape({ training: nullable(text), workDoneToken: nullable(either(text, number)) }),
  result: shape({ worker: text }),
};

/** The dataset view wants its numbers. */
export const datasetStats = {
  method: "precisionShaking/datasetStats",
  params: nothing,
  result: shape({
    path: text,
    sessions: number,
    steps: number,
    attempts: number,
    rows: number,
    openRows: number,
    withRejected: number,
    withSoftLabels: number,
    byReason: record(number),
    byTeacher: record(number),
    sizeBytes: number,
  }),
};
export type DatasetStats = Guarded<typeof datasetStats.result>;

// Notifications of the server

/** Something happened in a session; `event` is one of `events.ts`, or one that only a newer server knows. */
export const sessionEvent = {
  method: "precisionShaking/sessionEvent",
  params: shape({ session: text, uri: text, event: record(anything) }),
};

/**
 * A script waits for the user's answer. The same attempt may come again, with another base or as `unclear`.
 * `warnings` are sentences on what the script holds that a diff does not show. Of an instance of several files,
 * `files` are those that change; a `base` of null is of a file that is new or empty.
 */
export const proposal = {
  method: "precisionShaking/proposal",
  params: shape({
    session: text,
    uri: text,
    attempt: text,
    step: number,
    steps: number,
    cycle: number,
    base: text,
    proposed: text,
    reasoning: text,
    teacher: text,
    outcome: text,
    output: text,
    unclear: flag,
    warnings: list(text),
    files: list(shape({ uri: text, path: text, base: nullable(text), proposed: text })),
  }),
};
export type Proposal = Guarded<typeof proposal.params>;

// Requests of the server

/** The engine is about to call a teacher and asks for its key; null when the user keeps none. */
export const apiKey = {
  method: "precisionShaking/apiKey",
  params: shape({ teacher: text }),
  result: shape({ key: nullable(text) }),
};

/** What the server is told when it starts, and again when a setting changes. */
export const serverSettings = shape({
  teachers: list(text),
  worker: text,
  maxAttempts: number,
  maxWholeLines: number,
  database: text,
  student: text,
  trainingSteps: number,
  scorer: text,
  execute: flag,
  instance: text,
});
export type ServerSettings = Guarded<typeof serverSettings>;

/** Every message, for whoever wants to look at all of them. */
export const MESSAGES: readonly (RequestMessage<unknown, unknown> | NotificationMessage<unknown>)[] = [
  instances,
  startSession,
  answer,
  help,
  correct,
  stopSession,
  openSessions,
  resumeSession,
  abandonSession,
  startTraining,
  makeWorker,
  datasetStats,
  sessionEvent,
  proposal,
  apiKey,
];
