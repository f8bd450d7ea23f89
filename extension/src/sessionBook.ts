/** Keeps every session that this window knows, and tells when one changed. */

import * as vscode from "vscode";

import type { SessionEvent, Verdict } from "./events";
import { belongsTo } from "./files";
import type { Proposal } from "./protocol";
import { answered, apply, corrected, endPause, isRunning, newSession, type Pause, propose, type Session } from "./sessions";

export class SessionBook implements vscode.Disposable {
  private readonly sessions = new Map<string, Session>();
  private readonly changes = new vscode.EventEmitter<Session>();
  readonly onDidChange = this.changes.event;

  /** All sessions, the newest last. */
  all(): readonly Session[] {
    return [...this.sessions.values()];
  }

  get(uid: string): Session | undefined {
    return this.sessions.get(uid);
  }

  /** The running session of a document. */
  of(uri: string): Session | undefined {
    return this.all().find((session) => session.uri === uri && isRunning(session));
  }

  /** The session that a document of ours belongs to. */
  behind(uri: vscode.Uri): Session | undefined {
    return this.all().find((session) => belongsTo(uri, session.uid));
  }

  /** Sessions whose proposal waits for an answer. */
  waiting(): readonly Session[] {
    return this.all().filter((session) => session.phase === "waiting");
  }

  /** Note that a session was asked for. */
  open(uid: string, uri: string, request: string): void {
    // Its first events may have come before the answer.
    if (!this.sessions.has(uid)) {
      this.put(newSession(uid, uri, request));
    }
  }

  apply(uid: string, uri: string, event: SessionEvent): void {
    this.put(apply(this.sessions.get(uid) ?? newSession(uid, uri), event));
  }

  propose(proposal: Proposal): void {
    this.put(propose(this.sessions.get(proposal.session) ?? newSession(proposal.session, proposal.uri), proposal));
  }

  /** Note that the user answered the session's proposal. */
  answered(uid: string): void {
    const session = this.sessions.get(uid);
    if (session) {
      this.put(answered(session));
    }
  }

  /** Note that the user corrected how their words about an attempt were read. */
  correct(uid: string, attempt: string, verdict: Verdict): void {
    const session = this.sessions.get(uid);
    if (session) {
      this.put(corrected(session, attempt, verdict));
    }
  }

  /** Note that an answer did not arrive: the proposal waits again, unless something newer came meanwhile. */
  reopen(proposal: Proposal): void {
    const session = this.sessions.get(proposal.session);
    if (session?.phase === "thinking" && session.proposal?.attempt === proposal.attempt) {
      this.put(propose(session, session.proposal));
    }
  }

  /** Note that the time is over for which a teacher was waited for, unless it waits anew. */
  endPause(uid: string, pause: Pause): void {
    const session = this.sessions.get(uid);
    if (session?.pause === pause) {
      this.put(endPause(session));
    }
  }

  /** Every running session ended with its server. Returns those. */
  abandonAll(message: string): readonly Session[] {
    const lost = this.all().filter(isRunning);
    for (const session of lost) {
      this.apply(session.uid, session.uri, { kind: "session_failed", session: session.uid, message });
    }
    return lost;
  }

  dispose(): void {
    this.changes.dispose();
  }

  private put(session: Session): void {
    // Most events are pieces of text; they change nothing that is shown here.
    if (this.sessions.get(session.uid) !== session) {
      this.sessions.set(session.uid, session);
      this.changes.fire(session);
    }
  }
}
