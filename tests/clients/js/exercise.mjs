// The fixed exercise against the conformant fixture. A driver hides what differs between SDK versions.

import assert from 'node:assert/strict';
import { steps, untilWithin } from './steps.mjs';

const WATCHED = 'test://watched-resource';
const until = untilWithin(10_000);

const text = result => result.content[0].text;

/**
 * @param driver { connect, close, missingResource, era, revision, server, tools, call, prompts, prompt, resources, templates, read,
 *                 complete, level, subscribe, listen, seen: { logs, updates, toolChanges, promptChanges } }
 */
export async function exercise(driver) {
    const { seen, failed, step } = steps();
    const call = (tool, args, options) => driver.call({ name: tool, ...(args && { arguments: args }) }, options);

    await step('connect', async () => {
        await driver.connect();
        return { revision: driver.revision(), era: driver.era(), server: driver.server()?.name };
    });
    const modern = driver.era() === 'modern';

    await step('tools', async () => {
        const names = (await driver.tools()).map(tool => tool.name);
        assert(names.includes('test_simple_text') && names.includes('test_custom_header'));
        return names.length;
    });
    await step('simple call', async () => {
        assert.equal(text(await call('test_simple_text')), 'This is a simple text response for testing.');
    });
    await step('absent arguments', async () => text(await call('test_arguments')));
    await step('arguments', async () => {
        const given = { zero: 0, no: false, none: null, text: 'ü€😀', nested: { list: [1, 2.5, -3] } };
        assert.deepEqual(JSON.parse(text(await call('test_arguments', given))), given);
    });
    await step('large argument', async () => {
        const large = 'x'.repeat(256 * 1024);
        assert.equal(text(await call('test_echo', { text: large })), large);
    });
    await step('mirrored header', async () => {
        assert.equal(text(await call('test_custom_header', { value: ' spaced ü ' })), ' spaced ü ');
    });
    await step('tool error', async () => assert.equal((await call('test_error_handling')).isError, true));
    await step('structured content', async () => {
        assert.deepEqual((await call('test_structured_content')).structuredContent, { temperature: 21.5, unit: 'celsius' });
    });
    await step('content types', async () => (await call('test_multiple_content_types')).content.map(block => block.type));
    await step('unknown tool', async () => {
        const error = await call('no_such_tool').then(() => null, error => error);
        assert.equal(error?.code, -32602);
    });
    await step('progress', async () => {
        const reports = [];
        await call('test_tool_with_progress', {}, { onprogress: report => reports.push(report.progress) });
        assert.deepEqual(reports, [0, 50, 100]);
    });
    await step('logging', async () => {
        await driver.level('info');
        const before = driver.seen.logs.length;
        await driver.call({
            name: 'test_tool_with_logging',
            ...(modern && { _meta: { 'io.modelcontextprotocol/logLevel': 'info' } })
        });
        await until(() => driver.seen.logs.length - before === 3, 'three log lines');
    });

    await step('prompts', async () => (await driver.prompts()).length);
    await step('prompt', async () => {
        const { messages } = await driver.prompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } });
        assert.equal(messages[0].content.text, "Prompt with arguments: arg1='a', arg2='b'");
    });
    await step('resources', async () => [(await driver.resources()).length, (await driver.templates()).length]);
    await step('read', async () => {
        const [{ text: plain }] = (await driver.read('test://static-text')).contents;
        assert.equal(plain, 'This is the content of the static text resource.');
        const [{ blob }] = (await driver.read('test://static-binary')).contents;
        assert(Buffer.from(blob, 'base64').subarray(1, 4).equals(Buffer.from('PNG')));
        const [{ text: templated }] = (await driver.read('test://template/a%20b/data')).contents;
        assert.equal(JSON.parse(templated).templateTest, true);
    });
    await step('missing resource', async () => {
        const error = await driver.read('test://missing').then(() => null, error => error);
        assert.equal(error?.code, driver.missingResource);
    });
    await step('completion', async () => {
        const ref = { type: 'ref/prompt', name: 'test_prompt_with_arguments' };
        return (await driver.complete({ ref, argument: { name: 'arg1', value: 'x-' } })).completion.values;
    });

    if (modern) {
        for (const kind of ['elicitation', 'sampling', 'list_roots', 'request_state', 'multiple_inputs', 'multi_round']) {
            await step(`rounds: ${kind}`, async () => text(await call(`test_input_required_result_${kind}`)));
        }
        await step('rounds: prompt', async () => {
            assert.equal((await driver.prompt({ name: 'test_input_required_result_prompt' })).messages.length, 1);
        });
    } else {
        await step('elicitation', async () => {
            const said = text(await call('test_elicitation', { message: 'Who are you?' }));
            assert(said.includes('action=accept') && said.includes('ada@example.com'), said);
        });
        await step('sampling', async () => {
            assert.equal(text(await call('test_sampling', { prompt: 'Say something' })), 'LLM response: sampled');
        });
        await step('reconnection', async () => text(await call('test_reconnection')));
    }

    let stop = async () => {};
    await step('subscribe', async () => {
        if (modern) {
            stop = await driver.listen({ toolsListChanged: true, promptsListChanged: true, resourceSubscriptions: [WATCHED] });
        } else {
            await driver.subscribe(WATCHED);
        }
    });
    await step('resource update', async () => {
        await call('test_trigger_resource_change');
        await until(() => driver.seen.updates.includes(WATCHED), 'an update of the watched resource');
    });
    await step('tool list change', async () => {
        await call('test_trigger_tool_change');
        await until(() => driver.seen.toolChanges > 0, 'a change of the tool list');
    });
    await step('prompt list change', async () => {
        await call('test_trigger_prompt_change');
        await until(() => driver.seen.promptChanges > 0, 'a change of the prompt list');
    });
    await step('end subscription', () => stop());

    await step('cancellation', async () => {
        const count = async () => Number(text(await call('test_cancelled_count')));
        const before = await count();
        const abort = new AbortController();
        const waiting = call('test_wait', { milliseconds: 30_000 }, { signal: abort.signal }).then(() => 'answered', () => 'aborted');
        await new Promise(resolve => setTimeout(resolve, 200));
        abort.abort('no longer needed');
        assert.equal(await waiting, 'aborted');
        await until(async () => (await count()) > before, 'the cancellation at the server');
    });
    await step('many at once', async () => {
        const texts = Array.from({ length: 40 }, (_, index) => `call ${index}`);
        const results = await Promise.all(texts.map(each => call('test_echo', { text: each })));
        assert.deepEqual(results.map(text), texts);
    });
    await step('close', () => driver.close());

    return { seen, failed };
}
