// What the clients answer when a server asks.

export const answers = {
    elicit: () => ({ action: 'accept', content: { username: 'ada', email: 'ada@example.com', name: 'Ada', color: 'green' } }),
    sample: () => ({ role: 'assistant', model: 'none', stopReason: 'endTurn', content: { type: 'text', text: 'sampled' } }),
    roots: () => ({ roots: [{ uri: 'file:///work', name: 'work' }] })
};
