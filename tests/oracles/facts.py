"""links EXPECTED: print "name mac prefix-of-the-peer" lines.  compare EXPECTED DIR: kernel state (ip -j) against EXPECTED.

EXPECTED is JSON: "interfaces": {NAME: {"mac", "addresses", "routes"}}, "dns" (optional, in order unless "any_order"), "others"
(optional): {NAME: MAC} of interfaces that exist and may look as they like. Routes are "DST via GATEWAY" or "DST"."""
import ipaddress as I
import json
import os
import sys

want = json.load(open(sys.argv[2]))
ifs = want["interfaces"]


def route(text):                     # "DST via GW" | "DST" (no gateway), canonical
    dst, _, gw = text.partition(" via ")
    return str(I.ip_network(dst.strip())) + (" via %s" % I.ip_address(gw.strip()) if gw else "")


if sys.argv[1] == "links":
    for n, i in ifs.items():
        print(n, i["mac"], "p-")
    for n, mac in want.get("others", {}).items():
        print(n, mac, "q-")
    sys.exit()

d = sys.argv[3]
load = lambda f: json.load(open(os.path.join(d, f))) if os.path.getsize(os.path.join(d, f)) else []
exp, got = set(), set()
for n, i in ifs.items():
    exp |= {"%s address %s" % (n, I.ip_interface(a)) for a in i["addresses"]}
    exp |= {"%s route %s" % (n, route(r)) for r in i.get("routes", [])}
first = {}
for link in load("addr"):
    for a in link.get("addr_info", []):
        if link["ifname"] in ifs and not a["local"].startswith("fe80:"):
            c = "%s/%d" % (a["local"], a["prefixlen"])
            got.add("%s address %s" % (link["ifname"], c))
            if a["family"] == "inet":
                first.setdefault(link["ifname"], c)
hops = {r.split(" via ")[1] for r in exp if " via " in r}
for f, zero in (("r4", "0.0.0.0/0"), ("r6", "::/0")):
    for r in load(f):
        dst = zero if r["dst"] == "default" else str(I.ip_network(r["dst"]))
        gw = r.get("gateway") or r.get("via", {}).get("host")
        line = "%s route %s" % (r.get("dev"), dst + (" via " + gw if gw else ""))
        if r.get("dev") not in ifs or r.get("protocol") == "kernel" and not gw or dst in ("fe80::/64", "169.254.0.0/16", "ff00::/8"):
            continue
        if not gw and line not in exp and dst.split("/")[0] in hops:
            continue                 # host route that makes a gateway reachable
        got.add(line)
bad = ["- missing  " + x for x in sorted(exp - got)] + ["+ unwanted " + x for x in sorted(got - exp)]
for n, i in ifs.items():
    v4 = [a for a in i["addresses"] if ":" not in a]
    if v4 and n in first and first[n] != v4[0]:
        bad.append("! %s: primary IPv4 is %s, expected %s" % (n, first[n], v4[0]))
# The C library reads three name servers; a stack with a list of its own takes all.
for name, most in (("dns", None), ("resolv", 3)):
    path = os.path.join(d, name)
    if "dns" in want and os.path.exists(path):
        dns = [str(I.ip_address(x)) for x in open(path).read().split()][:most]
        same = dns == want["dns"][:most]
        if want.get("any_order"):    # resolvconf sorts by interface and family: any three of more will do
            same = set(dns) <= set(want["dns"]) and len(set(dns)) == len(want["dns"][:most])
        if not same:
            bad.append("! name servers are %s, expected %s" % (dns, want["dns"][:most]))
print("\n".join(bad), end="\n" if bad else "")
sys.exit(bool(bad))
