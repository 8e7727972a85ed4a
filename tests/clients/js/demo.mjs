// What a user tries first: list the tools of a server and call one that needs no arguments.

export async function demo(driver) {
    const seen = {};
    const failed = [];
    try {
        await driver.connect();
        seen.server = driver.server();
        const tools = await driver.tools();
        seen.tools = tools.map(tool => tool.name);
        const plain = tools.find(tool => !(tool.inputSchema.required?.length > 0));
        seen.called = plain?.name;
        const { content, isError } = await driver.call({ name: plain.name, arguments: {} });
        seen.answer = content;
        if (isError || content.length === 0) failed.push(`${plain.name} did not work`);
        await driver.close();
    } catch (error) {
        failed.push(String(error?.stack ?? error));
    }
    return { seen, failed };
}
