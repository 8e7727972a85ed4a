// A tour of `@modelcontextprotocol/server-everything`: what it answers, in a form that can be compared between two runs.

const TOOLS = [
    ['echo', { message: 'hello ü' }],
    ['get-sum', { a: 2, b: 40 }],
    ['get-tiny-image', {}],
    ['get-structured-content', { location: 'Chicago' }],
    ['get-annotated-message', { messageType: 'success', includeImage: true }],
    ['get-resource-links', { count: 3 }],
    ['get-resource-reference', { resourceType: 'Text', resourceId: 1 }],
    ['trigger-sampling-request', { prompt: 'Say something', maxTokens: 10 }],
    ['trigger-elicitation-request', {}],
    ['get-roots-list', {}],
    ['no-such-tool', {}]
];

/** Times and random ids differ from run to run. */
const settled = value =>
    JSON.parse(
        JSON.stringify(value, (key, inner) => (key === 'lastModified' ? undefined : inner)).replace(
            /\d{1,2}:\d{2}:\d{2}( [AP]M)?|[0-9a-f]{8}-[0-9a-f-]{27}/g,
            '…'
        )
    );

export async function everything(driver) {
    const seen = {};
    const failed = [];
    const step = async (what, act) => {
        try {
            seen[what] = settled((await act()) ?? null);
        } catch (error) {
            seen[what] = { error: error?.code ?? String(error) };
        }
    };
    try {
        await driver.connect();
        seen.connect = { revision: driver.revision(), era: driver.era(), server: driver.server() };
        await step('tools', async () => (await driver.tools()).map(tool => tool.name));
        await step('prompts', async () => (await driver.prompts()).map(prompt => prompt.name));
        await step('resources', async () => (await driver.resources()).map(resource => resource.uri));
        await step('templates', async () => (await driver.templates()).map(template => template.uriTemplate));
        for (const [name, args] of TOOLS) {
            await step(`tool ${name}`, () => driver.call({ name, arguments: args }));
        }
        await step('progress', async () => {
            const reports = [];
            const args = { duration: 0.4, steps: 4 };
            await driver.call({ name: 'trigger-long-running-operation', arguments: args }, { onprogress: each => reports.push(each.progress) });
            return reports;
        });
        await step('prompt', () => driver.prompt({ name: 'simple-prompt' }));
        await step('prompt with arguments', () => driver.prompt({ name: 'args-prompt', arguments: { city: 'Paris', state: 'TX' } }));
        await step('resource', () => driver.read('demo://resource/dynamic/text/1'));
        await step('missing resource', () => driver.read('demo://nothing'));
        await step('completion', () =>
            driver.complete({ ref: { type: 'ref/prompt', name: 'completable-prompt' }, argument: { name: 'department', value: 'E' } })
        );
        await step('level', () => driver.level('warning'));
        await driver.close();
    } catch (error) {
        failed.push(String(error?.stack ?? error));
    }
    return { seen, failed };
}
