"""A plain asyncio receiver of RTP: reads sequence number and timestamp, finds
the call, counts. One socket for all calls, or one for each ("each")."""

import asyncio
import json
import socket
import struct
import sys

HEADER = struct.Struct("!HI")
received = 0


class Receiver(asyncio.DatagramProtocol):
    def __init__(self, calls):
        self.calls = calls

    def datagram_received(self, data, source):
        global received
        if len(data) < 12:
            return
        seq, time = HEADER.unpack_from(data, 2)
        call = self.calls.get(source[1])
        if call is None:
            return
        call[0] = seq
        call[1] = time
        received += 1


def say(message):
    print(json.dumps(message), flush=True)


def bind():
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    endpoint.bind(("127.0.0.1", 0))
    endpoint.setblocking(False)
    return endpoint


async def hear(loop):
    return json.loads(await loop.run_in_executor(None, sys.stdin.readline))


async def main():
    loop = asyncio.get_running_loop()
    say("ready")
    calls = {source: [0, 0] for source in (await hear(loop))["sources"]}
    sockets = [bind() for _ in (calls if sys.argv[1] == "each" else [0])]
    for endpoint in sockets:
        await loop.create_datagram_endpoint(lambda: Receiver(calls), sock=endpoint)
    say({"targets": [endpoint.getsockname()[1] for endpoint in sockets]})
    sent = (await hear(loop))["sent"]["packets"]
    for _ in range(100):
        if received >= sent:
            break
        await asyncio.sleep(0.05)
    say({"received": {"datagrams": received}})


asyncio.run(main())
