"""A machine's TPM, asked by the machine itself: commands as bytes into its device, no tools."""

from cli import proa

# PCR 16 gets one more value; PCR 16 as it is (state without power: gone); the owner's password becomes "x", which only
# works once (state that is kept).
EXTEND = "8002 00000041 00000182 00000010 00000009 40000009 0000 00 0000 00000001 000b" + "ab" * 32
READ = "8001 00000014 0000017e 00000001 000b 03 000001"
OWN = "8002 0000001e 00000129 40000001 00000009 40000009 0000 00 0000 0001 78"
AUTH_FAILS = [0x09, 0xa2]


def script(request):
    """What a shell in the machine does, to print the answer."""
    octal = "".join(f"\\0{b:03o}" for b in bytes.fromhex(request.replace(" ", "")))
    return f"exec 3<>/dev/tpm0 && printf '%b' '{octal}' >&3 && dd bs=4096 count=1 <&3 2>/dev/null | od -An -v -tx1"


def answer(request, printed):
    """Of READ the digest, otherwise the last two bytes of the response code."""
    data = list(bytes.fromhex("".join(printed.split())))
    return data[-32:] if request == READ else data[8:10]


def tpm(root, name, request):
    """Of READ the digest, otherwise the last two bytes of the response code."""
    return answer(request, proa(*(["--root", root] if root else []), "exec", name, "sh", "-c", script(request), timeout=60).out)
