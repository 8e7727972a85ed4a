// A tour of many servers as one. What there is to see says the plan, a JSON object in the environment variable PLAN.
//
// {
//   "prefixes": […], "least": 50,                     every tool has one of these prefixes, each prefix has tools
//   "calls": [[tool, arguments, text in the answer]], one after the other
//   "asking": [[tool, arguments, text]],              all at once: each asks the client something
//   "resource": URI, "prompt": {name, arguments}, "completion": {ref, argument},
//   "watch": [URI, tool that changes it, arguments],
//   "progress": [tool, arguments, least reports], "cancel": [tool, arguments],
//   "leaves": prefix                                  of the backend that goes, and comes back, when the tour waits for it
// }

import assert from 'node:assert/strict';
import { steps, untilWithin } from './steps.mjs';

const until = untilWithin(30_000);

export async function federation(driver) {
    const plan = JSON.parse(process.env.PLAN);
    const { seen, failed, step } = steps();
    const call = async ([name, args, expected]) => {
        const answer = JSON.stringify(await driver.call({ name, arguments: args }));
        assert(answer.includes(expected), `${name}: no ${expected} in ${answer}`);
    };
    const names = async () => (await driver.tools()).map(tool => tool.name);
    const modern = () => driver.era() === 'modern';

    await step('connect', async () => {
        await driver.connect();
        return { revision: driver.revision(), era: driver.era(), server: driver.server()?.name };
    });
    await step('tools', async () => {
        const all = await names();
        assert.equal(new Set(all).size, all.length, 'names are unique');
        assert(all.every(name => plan.prefixes.some(prefix => name.startsWith(`${prefix}__`))), all.join());
        assert(plan.prefixes.every(prefix => all.some(name => name.startsWith(`${prefix}__`))), all.join());
        assert(all.every(name => /^[A-Za-z0-9_-]{1,64}$/.test(name)), all.join());
        assert(all.length >= plan.least, `only ${all.length} tools`);
        return all.length;
    });
    for (const each of plan.calls) await step(each[0], () => call(each));
    await step('asking', () => Promise.all(plan.asking.map(call)));
    await step('resources', async () => {
        const found = [...(await driver.resources()).map(item => item.uri), ...(await driver.templates()).map(item => item.uriTemplate)];
        assert.equal(new Set(found).size, found.length, 'URIs are unique');
        return found.length;
    });
    await step('resource', async () => {
        const { contents } = await driver.read(plan.resource);
        assert.equal(contents[0].uri, plan.resource);
    });
    await step('prompt', async () => {
        assert((await driver.prompts()).some(prompt => prompt.name === plan.prompt.name));
        assert((await driver.prompt(plan.prompt)).messages.length > 0);
    });
    await step('completion', async () => {
        const { completion } = await driver.complete(plan.completion);
        assert(completion.values.length > 0);
    });
    await step('level', () => driver.level('info'));
    let stop = async () => {};
    await step('subscription', async () => {
        const [uri, tool, args] = plan.watch;
        if (modern()) {
            stop = await driver.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
        } else {
            await driver.subscribe(uri);
        }
        await driver.call({ name: tool, arguments: args });
        await until(() => driver.seen.updates.includes(uri), `an update of ${uri}`);
    });
    await step('progress', async () => {
        const [name, args, least] = plan.progress;
        const reports = [];
        await driver.call({ name, arguments: args }, { onprogress: report => reports.push(report.progress) });
        assert(reports.length >= least, `only ${reports.length} reports`);
    });
    await step('cancellation', async () => {
        const [name, args] = plan.cancel;
        const abort = new AbortController();
        const waiting = driver.call({ name, arguments: args }, { signal: abort.signal }).then(() => 'answered', () => 'aborted');
        await new Promise(resolve => setTimeout(resolve, 300));
        abort.abort('no longer needed');
        assert.equal(await waiting, 'aborted');
        await call(plan.calls[0]);
    });
    const left = async () => !(await names()).some(name => name.startsWith(`${plan.leaves}__`));
    for (const [what, gone] of [['leave', true], ['return', false]]) {
        await step(what, async () => {
            const before = driver.seen.toolChanges;
            console.log(JSON.stringify({ waiting: what }));
            await until(() => driver.seen.toolChanges > before, 'a change of the tool list');
            await until(async () => (await left()) === gone, `the other list after ${what}`);
            await call(plan.calls[0]);
        });
    }
    await step('end', async () => {
        await stop();
        await driver.close();
    });
    return { seen, failed };
}
