"""What two proxies did, beside each other."""

import re

from .shown import show

SPAN = re.compile(r"\d+\.span\.\d+\.")


def compare(case, envoy, martlet, differences):
    """The differences that are not listed, as lines."""
    found = []
    if case.invalid:
        if not envoy.refusal:
            found.append("Envoy takes the configuration")
        if martlet and not martlet.refusal and not differences.covers(case, "accepted"):
            found.append("Martlet takes the configuration, Envoy says: " + reason(envoy.refusal))
        if martlet and "not supported yet" in (martlet.refusal or "") and not differences.covers(case, "refused"):
            found.append("not there yet: " + reason(martlet.refusal))
        return found
    if envoy.refusal:
        return [f"Envoy refuses the configuration: {envoy.refusal}"]
    found += [f"Envoy: {text}" for _, text in envoy.problems]
    for who, result in (("Envoy", envoy), ("Martlet", martlet)):
        ended = [text for key, text in result.problems if key in ("start", "crash")] if result else []
        if ended:
            return [f"{who}: {ended[0]}"]
    if martlet is None:
        return found
    if martlet.refusal:
        if not differences.covers(case, "refused"):
            found.append("not there yet: " + reason(martlet.refusal))
        return found
    for key, text in martlet.problems:
        if not differences.covers(case, key, martlet.record.get(key)):
            found.append(f"Martlet: {text}")
    gone = ()  # what stands in the place of something that only one of them has is not looked at
    for key in sorted(envoy.record.keys() | martlet.record.keys(), key=order):
        theirs, ours = envoy.record.get(key), martlet.record.get(key)
        span = SPAN.match(key)
        if span and not (f"{span[0]}times" in envoy.record and f"{span[0]}times" in martlet.record):
            continue  # their number is told
        if gone and key.startswith(gone):
            continue
        if None in (theirs, ours) and {"object", "list"} & {theirs, ours}:
            gone = (key + ".", key + "[")
        if key.startswith("statistics."):
            theirs, ours = theirs or "0", ours or "0"
        if theirs != ours and not differences.covers(case, key, ours):
            found.append(f"{key}: Envoy {show(theirs)}, Martlet {show(ours)}")
    return found


def reason(refusal):
    """What a program says of a configuration that it refuses, shortened."""
    lines = [re.sub(r" \((?:supported|allowed): .*", "", line)[-600:] for line in (refusal or "").splitlines()]
    return "\n        ".join(lines[:4] + ([f"… {len(lines) - 4} more"] if len(lines) > 4 else []))


def order(key):
    number, _, rest = key.partition(".")
    return (int(number) if number.isdigit() else 1 << 30, rest)
