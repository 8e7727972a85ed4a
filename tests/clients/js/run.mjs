// Runs one client. Usage: run.mjs v1|v2 legacy|auto exercise|everything|federation|demo TARGET (see target.mjs)
//
// Prints one JSON line with what was seen; exits with 0 if all of it was as expected.

const [sdk, mode, tour, target] = process.argv.slice(2);
const { driver } = await import(`./${sdk}.mjs`);
const { [tour]: act } = await import(`./${tour}.mjs`);
const { seen, failed } = await act(driver(target, mode));
console.log(JSON.stringify({ client: `typescript-${sdk}-${mode}`, seen, failed }));
process.exit(failed.length === 0 ? 0 : 1);
