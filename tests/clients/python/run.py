"""Runs one client. Usage: run.py mcp1|mcp2 legacy|auto exercise|everything|federation TARGET (see target.py)

Prints one JSON line with what was seen; exits with 0 if all of it was as expected.
"""

import asyncio
import importlib
import json
import sys
import traceback
import warnings

warnings.simplefilter("ignore")
SDK, MODE, TOUR, TARGET = sys.argv[1:]


async def run():
    act = getattr(importlib.import_module(TOUR), TOUR)
    async with importlib.import_module(SDK).connected(TARGET, MODE) as driver:
        return await act(driver)


try:
    seen, failed = asyncio.run(run())
except Exception as error:
    traceback.print_exc()
    seen, failed = {}, [f"the client ended with {error!r}"]
print(json.dumps({"client": f"python-{SDK}-{MODE}", "seen": seen, "failed": failed}), flush=True)
sys.exit(1 if failed else 0)
