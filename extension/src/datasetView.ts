/** What the user's dataset holds, counted. */

import * as vscode from "vscode";

import type { DatasetStats } from "./protocol";
import { count, size, spoken } from "./wording";

/** The teacher of what the user wrote. */
const BY_HAND = "user";

interface Line {
  readonly label: string;
  readonly description: string;
  readonly icon: string;
  readonly tooltip?: string;
}

export class DatasetView implements vscode.TreeDataProvider<Line>, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changes.event;
  private lines: readonly Line[] = [];
  private outdated = false;

  /**
   * @param count Asks the server.
   * @param warn Is told when it could not count and nobody had asked it to.
   */
  constructor(
    private readonly count: () => Promise<DatasetStats>,
    private readonly warn: (message: string) => void,
  ) {}

  /** Count now. */
  async refresh(): Promise<void> {
    this.outdated = false;
    this.lines = datasetLines(await this.count());
    this.changes.fire();
  }

  /** Count when the view is looked at. */
  outdate(): void {
    this.outdated = true;
    this.changes.fire();
  }

  getChildren(line?: Line): Line[] {
    // The editor asks for the lines of visible views only.
    if (this.outdated) {
      this.refresh().catch((error: unknown) => {
        this.warn(`could not count the dataset: ${String(error)}`);
      });
    }
    return line ? [] : [...this.lines];
  }

  getTreeItem(line: Line): vscode.TreeItem {
    const item = new vscode.TreeItem(line.label);
    item.description = line.description;
    item.iconPath = new vscode.ThemeIcon(line.icon);
    item.tooltip = line.tooltip;
    item.accessibilityInformation = spoken(line);
    return item;
  }

  dispose(): void {
    this.changes.dispose();
  }
}

export function datasetLines(stats: DatasetStats): Line[] {
  const reasons = Object.entries(stats.byReason).map(([reason, rows]) => ({
    label: reason.replace("_", " "),
    description: count(rows, "rejected answer"),
    icon: "thumbsdown",
  }));
  const teachers = Object.entries(stats.byTeacher).map(([teacher, rows]) => ({
    label: teacher === BY_HAND ? "you" : teacher,
    description: count(rows, "chosen answer"),
    icon: "mortar-board",
  }));
  return [
    { label: count(stats.rows, "row"), description: "ready to train on", icon: "database", tooltip: stats.path },
    { label: count(stats.openRows, "open row"), description: "the step is not accepted yet", icon: "circle-large-outline" },
    { label: `${stats.withSoftLabels} with soft labels`, description: `of ${stats.rows}`, icon: "graph" },
    { label: `${stats.withRejected} with a rejected answer`, description: `of ${stats.rows}`, icon: "split-horizontal" },
    ...reasons,
    ...teachers,
    {
      label: count(stats.sessions, "session"),
      description: `${count(stats.steps, "step")}, ${count(stats.attempts, "attempt")}`,
      icon: "history",
    },
    { label: size(stats.sizeBytes), description: stats.path, icon: "file", tooltip: stats.path },
  ];
}
