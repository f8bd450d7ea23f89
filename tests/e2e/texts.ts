/** Texts: the script that the tests change and what becomes of it (short, for only lines in view can be read), and questions. */

export const GREET = `def greet(name):
    print("hello", name)


greet("world")
`;

/** Ends with a NameError: the sandbox finds it, the user never sees it. */
export const BROKEN = `def greet(*names):
    for name in nmaes:
        print("hello", name)


greet("world")
`;

export const LOOPED = `def greet(*names):
    for name in names:
        print("hello", name)


greet("world", "moon")
`;

export const CAPITALISED = `def greet(*names):
    for name in names:
        print("hello", name.title())


greet("world", "moon")
`;

export const DOCUMENTED = `def greet(*names):
    """Say hello to each of the names."""
    for name in names:
        print("hello", name.title())


greet("world", "moon")
`;

/** Never ends by itself. */
export const ENDLESS = `while True:
    pass
`;

/** What the extension asks, word for word enough to know it. */
export const QUESTIONS = {
  instance: /What kind of change/,
  files: /Which files may it change/,
  request: /What should change in this script/,
  redo: /What was wrong with it/,
  furtherEdit: /What should change about it next/,
  feedback: /in your own words/,
  help: /No teacher could do this step/,
  keyOwner: /Whose API key/,
  key: /secret storage/,
};
