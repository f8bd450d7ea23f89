/** The state of a small editor that the tests look at and act on. */

import { EventEmitter, TabInputText, TabInputTextDiff, Uri } from "./fakeTypes";

export interface FakeDocument {
  readonly uri: Uri;
  readonly languageId: string;
  isDirty: boolean;
  text: string;
  getText(): string;
  save(): Promise<boolean>;
}

export interface FakeTab {
  readonly label: string;
  /** As of a diff of several files, whose class the API does not name yet. */
  readonly input: TabInputText | TabInputTextDiff | { readonly textDiffs: readonly TabInputTextDiff[] };
}

export interface FakeProgress {
  readonly title: string;
  readonly reports: { message?: string; increment?: number }[];
  open: boolean;
  cancel(): void;
}

export interface Files {
  readFile(uri: Uri): Uint8Array;
  writeFile(uri: Uri, content: Uint8Array): void;
}

export class FakeEditor {
  trusted = true;
  settings: Record<string, unknown> = {};
  documents: FakeDocument[] = [];
  active: FakeDocument | undefined;
  tabs: FakeTab[] = [];
  readonly tabsChanged = new EventEmitter<undefined>();
  /** The folder that is open, and the files in it. */
  readonly folder = Uri.file("/home/user");
  found: Uri[] = [];
  /** What the user answers, one per question; a function sees the question, and what can be picked. */
  answers: unknown[] = [];
  /** Every sentence and question that was shown. */
  readonly shown: string[] = [];
  readonly progresses: FakeProgress[] = [];
  readonly context = new Map<string, unknown>();
  readonly output: string[] = [];
  readonly executed: string[] = [];
  readonly commands = new Map<string, (...args: unknown[]) => unknown>();
  readonly providers = new Map<string, unknown>();
  readonly files = new Map<string, Files>();
  readonly secrets = new Map<string, string>();
  readonly statusItem = { text: "", visible: false };
  python: string | undefined;
  readonly opened = new EventEmitter<FakeDocument>();
  readonly configured = new EventEmitter<{ affectsConfiguration: (section: string) => boolean }>();
  readonly granted = new EventEmitter<undefined>();

  /** Open a document, and bring it to the front. */
  open(uri: Uri, text: string, languageId = "python"): FakeDocument {
    const found = this.documents.find((document) => document.uri.toString() === uri.toString());
    const document = found ?? this.newDocument(uri, text, languageId);
    this.active = document;
    return document;
  }

  /** Type over a document's whole text. */
  type(document: FakeDocument, text: string): void {
    document.text = text;
    document.isDirty = true;
  }

  /** What `vscode.diff` does. */
  diff(original: Uri, modified: Uri, label: string): void {
    this.load(modified);
    this.renewTabs();
    const shown = this.tabs.find(({ input }) => input instanceof TabInputTextDiff && input.modified.toString() === modified.toString());
    if (!shown) {
      this.tabs.push({ label, input: new TabInputTextDiff(original, modified) });
    }
    this.tabsChanged.fire(undefined);
  }

  /** What `vscode.changes` does: a new tab each time. */
  changes(label: string, resources: readonly [Uri, Uri, Uri][]): void {
    const textDiffs = resources.map(([, original, modified]) => new TabInputTextDiff(original, modified));
    textDiffs.forEach(({ modified }) => {
      this.load(modified);
    });
    this.renewTabs();
    this.tabs.push({ label, input: { textDiffs } });
    this.tabsChanged.fire(undefined);
  }

  /** A file changed: an open document without changes of its own shows it. */
  follow(uri: Uri): void {
    const open = this.documents.find((document) => document.uri.toString() === uri.toString() && !document.isDirty);
    if (open) {
      open.text = new TextDecoder().decode(this.files.get(uri.scheme)?.readFile(uri));
    }
  }

  close(tabs: readonly FakeTab[]): void {
    if (!tabs.every((tab) => this.tabs.includes(tab))) {
      throw new Error("Tab close: Invalid tab not found!");
    }
    this.tabs = this.tabs.filter((tab) => !tabs.includes(tab));
    const left = this.tabs.flatMap(rightSides);
    const gone = tabs.flatMap(rightSides).filter((uri) => !left.includes(uri));
    this.documents = this.documents.filter((document) => !gone.includes(document.uri.toString()));
    this.tabsChanged.fire(undefined);
  }

  ask(question: string, items: unknown[] = []): unknown {
    this.shown.push(question);
    const answer = this.answers.shift();
    return typeof answer === "function" ? (answer as (question: string, items: unknown[]) => unknown)(question, items) : answer;
  }

  change(settings: Record<string, unknown>): void {
    const changed = Object.keys(settings);
    this.settings = { ...this.settings, ...settings };
    this.configured.fire({
      affectsConfiguration: (section) =>
        changed.some((name) => `precisionShaking.${name}` === section || section === "precisionShaking"),
    });
  }

  /** The real editor, too, puts new objects in the place of its tabs while it opens one, and closes none by the old. */
  private renewTabs(): void {
    this.tabs = this.tabs.map((tab) => ({ ...tab }));
  }

  private load(uri: Uri): void {
    this.open(uri, new TextDecoder().decode(this.files.get(uri.scheme)?.readFile(uri) ?? new Uint8Array()));
  }

  private newDocument(uri: Uri, text: string, languageId: string): FakeDocument {
    const document: FakeDocument = {
      uri,
      languageId,
      text,
      isDirty: false,
      getText: () => document.text,
      save: () => {
        this.files.get(uri.scheme)?.writeFile(uri, new TextEncoder().encode(document.text));
        document.isDirty = false;
        return Promise.resolve(true);
      },
    };
    this.documents.push(document);
    this.opened.fire(document);
    return document;
  }
}

function rightSides({ input }: FakeTab): string[] {
  if (input instanceof TabInputText) {
    return [input.uri.toString()];
  }
  const diffs = input instanceof TabInputTextDiff ? [input] : input.textDiffs;
  return diffs.map(({ modified }) => modified.toString());
}
