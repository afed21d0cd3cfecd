"""Some cases in one process of one proxy."""

import asyncio
import shutil

from .backend import Backend
from .configuration import Names, configuration
from .normal import Normaliser, volatile
from .play import Play
from .proxy import Proxy, free_ports, own_address, validate

# What is zero when nothing is on its way any more.
GAUGES = (".downstream_cx_active", ".downstream_rq_active", ".upstream_rq_active")


def groups(cases):
    """Cases that can be in one process: those of one file, but for those that change the process."""
    together = {}
    for case in cases:
        name = case.id if case.alone else f"{case.area}-invalid" if case.invalid else case.area
        together.setdefault(name, []).append(case)
    return together


class Result:
    """What one proxy did with one case."""

    def __init__(self):
        self.record = {}
        self.problems = []
        self.refusal = None  # what it says of the configuration, if it does not take it


class Batch:
    """Some cases in one process of one proxy."""

    def __init__(self, program, cases, folder, jobs, certificates):
        self.program = program
        self.cases = cases
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.jobs = jobs
        self.certificates = certificates
        self.results = {case.id: Result() for case in cases}

    def prepare(self, cases):
        """(names by case, address of the admin interface, text of the configuration). The upstreams' sockets are open
        then."""
        host = own_address()
        ports = free_ports(host, 2 * len(cases) + 1)
        admin = (host, ports.pop())
        names = {}
        for case, port, other in zip(cases, ports, ports[len(cases):]):
            folder = self.folder / case.id
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            names[case.id] = Names(case, (host, port), other, admin, folder, Backend(case, folder, self.certificates),
                                   self.certificates)
            for path, text in case.files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(names[case.id].fill(text), encoding="utf-8")
            for path, target in case.links.items():
                (folder / path).symlink_to(names[case.id].fill(target))
        return names, admin, configuration(cases, names, admin)

    async def run(self):
        cases = await self.accepted()
        if cases and not cases[0].invalid:
            await self.play(cases)
        return self.results

    async def accepted(self):
        """The cases whose configuration the proxy takes."""
        if not self.cases[0].invalid and await self.check(self.cases, "all") is None:
            return self.cases
        slots = asyncio.Semaphore(2)

        async def one(case):
            async with slots:
                self.results[case.id].refusal = await self.check([case], case.id)

        await asyncio.gather(*(one(case) for case in self.cases))
        return [case for case in self.cases if self.results[case.id].refusal is None]

    async def check(self, cases, name):
        names, _, text = self.prepare(cases)
        path = self.folder / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        refusal = await validate(self.program, path)
        for case in cases:
            await names[case.id].backend.stop()
        return refusal.replace(str(path), "configuration") if refusal else None

    async def play(self, cases):
        names, admin, text = self.prepare(cases)
        proxy, plays = Proxy(self.program, admin, self.folder), {}
        try:
            if not await proxy.start(text):
                for case in cases:
                    self.results[case.id].problems.append(("start", "the proxy did not start:\n" + "\n".join(proxy.log())))
                return
            slots = asyncio.Semaphore(self.jobs)
            running = {}

            async def one(case):
                async with slots:
                    running[case.id] = plays[case.id] = play = Play(case, proxy, names[case.id])
                    await play.run()
                    self.results[case.id].record = play.record
                    self.results[case.id].problems = play.problems
                    if not proxy.ended.is_set():
                        del running[case.id]

            await asyncio.gather(*(one(case) for case in cases))
            if proxy.ended.is_set():
                for name in running:
                    self.results[name].problems.append(
                        ("crash", f"the proxy ended with status {proxy.process.returncode}:\n" + "\n".join(proxy.log())))
                return
            await self.statistics(proxy, names, cases)
        finally:
            await proxy.stop()
            for play in plays.values():
                play.end()

    async def statistics(self, proxy, names, cases):
        """Adds the counters of each case, after its last request is gone."""
        end = asyncio.get_running_loop().time() + 5
        while True:
            values = await proxy.statistics()
            active = [name for name in values if values[name] and name.endswith(GAUGES)
                      and not name.startswith(("http.admin.", "listener."))]
            if not active or asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(0.02)
        for case in cases:
            if case.repeats:
                continue
            normal = Normaliser(names[case.id])
            scopes = [(f"http.{case.id}.", "http."), (f"tcp.{case.id}.", "tcp."),
                      ("listener.{}_{}.ssl.".format(*names[case.id].listener), "listener.ssl.")] + [
                # How many spans the collector gets at a time is chance.
                (f"cluster.{full}.", f"@{name}.") for name, full in names[case.id].clusters.items() if name != "collector"]
            record = self.results[case.id].record
            for name, value in sorted(values.items()):
                for scope, short in scopes:
                    # Who gets how much by chance is not counted.
                    if name.startswith(scope) and value and not volatile(name) and not (case.chance and short[0] == "@"):
                        record["statistics." + normal.text(short + name.removeprefix(scope))] = str(value)
