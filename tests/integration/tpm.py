"""A machine's TPM, asked by the machine itself: commands as bytes into its device, no tools."""

from cli import proa

# PCR 16 gets one more value; PCR 16 as it is (state without power: gone); the owner's password becomes "x", which only
# works once (state that is kept).
EXTEND = "8002 00000041 00000182 00000010 00000009 40000009 0000 00 0000 00000001 000b" + "ab" * 32
READ = "8001 00000014 0000017e 00000001 000b 03 000001"
OWN = "8002 0000001e 00000129 40000001 00000009 40000009 0000 00 0000 0001 78"
AUTH_FAILS = [0x09, 0xa2]


def tpm(root, name, request):
    """Of READ the digest, otherwise the last two bytes of the response code."""
    octal = "".join(f"\\0{b:03o}" for b in bytes.fromhex(request.replace(" ", "")))
    script = f"exec 3<>/dev/tpm0 && printf '%b' '{octal}' >&3 && dd bs=4096 count=1 <&3 2>/dev/null | od -An -v -tx1"
    out = proa(*(["--root", root] if root else []), "exec", name, "sh", "-c", script, timeout=60).out
    answer = list(bytes.fromhex(out.replace("\n", "").replace(" ", "")))
    return answer[-32:] if request == READ else answer[8:10]
