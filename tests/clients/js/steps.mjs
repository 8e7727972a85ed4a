// What tours consist of: steps that are noted whether they succeed or not, and waiting for what happens meanwhile.

/** @returns { seen, failed, step }: what each step has seen, or true; what went wrong; and how to take a step. */
export function steps() {
    const seen = {};
    const failed = [];
    const step = async (what, act) => {
        try {
            seen[what] = (await act()) ?? true;
        } catch (error) {
            failed.push(`${what}: ${error?.message ?? error}`);
        }
    };
    return { seen, failed, step };
}

/** @returns a function that resolves as soon as `condition()` holds, and fails after so many milliseconds. */
export const untilWithin = patience => async (condition, what) => {
    const deadline = Date.now() + patience;
    while (!(await condition())) {
        if (Date.now() > deadline) throw new Error(`${what} did not happen within ${patience} ms`);
        await new Promise(resolve => setTimeout(resolve, 20));
    }
};
