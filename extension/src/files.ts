/** The two documents of a proposal's diff: what there is, read-only, and what is proposed, editable and in memory. */

import * as vscode from "vscode";

import type { Proposal } from "./protocol";
import type { Session } from "./sessions";
import { fileName } from "./wording";

export const BASE = "precision-shaking-base";
export const PROPOSAL = "precision-shaking-proposal";

/** One file of a diff. */
export interface Side {
  /** The user's own file. */
  readonly file: vscode.Uri;
  /** The right side's place; the left side's follows from it. */
  readonly right: vscode.Uri;
  /** Null where the file is new. */
  readonly base: string | null;
  readonly proposed: string;
}

/** The files that a proposal changes. */
export function sidesOf(proposal: Proposal): readonly Side[] {
  const { uri, base, proposed } = proposal;
  const files = proposal.files.length > 0 ? proposal.files : [{ uri, path: fileName(uri), base, proposed }];
  return files.map((file) => ({
    file: vscode.Uri.parse(file.uri),
    right: proposalUri(proposal, file.path),
    base: file.base,
    proposed: file.proposed,
  }));
}

/** A proposed file's place: its path is what the breadcrumbs show, and ends like the file so that it is coloured like it. */
function proposalUri(proposal: Proposal, file: string): vscode.Uri {
  const path = `/step ${proposal.step + 1}/attempt ${proposal.cycle}/${file}`;
  return vscode.Uri.from({ scheme: PROPOSAL, authority: proposal.session, path });
}

/** The place of what the user writes themselves, when no teacher could do a session's step. */
export function handUri({ uid, uri, step }: Session): vscode.Uri {
  return vscode.Uri.from({ scheme: PROPOSAL, authority: uid, path: `/step ${step + 1}/by hand/${fileName(uri)}` });
}

/** A left side's place, from its right side's. */
export function baseUri(right: vscode.Uri): vscode.Uri {
  return right.with({ scheme: BASE });
}

/** A past attempt's place, from the one it had: it can be read and no longer be changed. */
export function pastUri(right: vscode.Uri): vscode.Uri {
  return right.with({ scheme: BASE, path: `/past${right.path}` });
}

/** Whether a document of ours belongs to this session. */
export function belongsTo(uri: vscode.Uri, session: string): boolean {
  // URIs write their authority in lower case.
  const ours = uri.scheme === PROPOSAL || uri.scheme === BASE;
  return ours && uri.authority.toLowerCase() === session.toLowerCase();
}

/** Serves the left sides. */
export class BaseDocuments implements vscode.TextDocumentContentProvider {
  private readonly texts = new Map<string, string>();
  private readonly changes = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changes.event;

  set(uri: vscode.Uri, text: string): void {
    const before = this.texts.get(uri.toString());
    this.texts.set(uri.toString(), text);
    if (before !== undefined && before !== text) {
      this.changes.fire(uri);
    }
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.toString()) ?? "";
  }
}

interface MemoryFile {
  readonly content: Uint8Array;
  readonly created: number;
  readonly changed: number;
}

/** Holds the right sides. Nothing here ever reaches a disk. */
export class ProposalFiles implements vscode.FileSystemProvider {
  private readonly files = new Map<string, MemoryFile>();
  private readonly changes = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.changes.event;

  has(uri: vscode.Uri): boolean {
    return this.files.has(uri.toString());
  }

  text(uri: vscode.Uri): string {
    return new TextDecoder().decode(this.readFile(uri));
  }

  /** Put a text there; an open editor follows. */
  set(uri: vscode.Uri, text: string): void {
    const type = this.has(uri) ? vscode.FileChangeType.Changed : vscode.FileChangeType.Created;
    this.writeFile(uri, new TextEncoder().encode(text));
    this.changes.fire([{ type, uri }]);
  }

  /** Drop every file of a session. */
  forget(session: string): void {
    for (const place of this.files.keys()) {
      if (belongsTo(vscode.Uri.parse(place), session)) {
        this.files.delete(place);
      }
    }
  }

  readFile(uri: vscode.Uri): Uint8Array {
    return this.file(uri).content;
  }

  writeFile(uri: vscode.Uri, content: Uint8Array): void {
    const now = Date.now();
    // The editor reloads a document only when its time moved on.
    const before = this.files.get(uri.toString());
    const changed = Math.max(now, (before?.changed ?? 0) + 1);
    this.files.set(uri.toString(), { content, changed, created: before?.created ?? now });
  }

  stat(uri: vscode.Uri): vscode.FileStat {
    const file = this.file(uri);
    return { type: vscode.FileType.File, ctime: file.created, mtime: file.changed, size: file.content.byteLength };
  }

  watch(): vscode.Disposable {
    // Every change is ours, and is fired.
    return new vscode.Disposable(() => undefined);
  }

  readDirectory(): [string, vscode.FileType][] {
    return [];
  }

  createDirectory(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  delete(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  rename(uri: vscode.Uri): void {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  private file(uri: vscode.Uri): MemoryFile {
    const file = this.files.get(uri.toString());
    if (!file) {
      throw vscode.FileSystemError.FileNotFound(uri);
    }
    return file;
  }
}
