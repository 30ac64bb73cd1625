"""Lines of text for tokenizer parity: every script, emoji sequences, code, white space, controls, broken UTF-8, numbers,
special tokens. The same lines for the same seed on any machine (code points by Unicode category, no locale)."""
import random
import unicodedata

BLOCKS = [  # first and last code point of scripts and symbol areas
    (0x20, 0x7e), (0xa0, 0xff), (0x100, 0x24f), (0x250, 0x2af), (0x2b0, 0x2ff), (0x300, 0x36f), (0x370, 0x3ff),
    (0x400, 0x52f), (0x531, 0x58f), (0x591, 0x5f4), (0x600, 0x6ff), (0x700, 0x74f), (0x780, 0x7b1), (0x7c0, 0x7fa),
    (0x800, 0x83e), (0x900, 0x97f), (0x980, 0x9fe), (0xa01, 0xa76), (0xa81, 0xaff), (0xb01, 0xb77), (0xb82, 0xbfa),
    (0xc00, 0xc7f), (0xc80, 0xcf2), (0xd00, 0xd7f), (0xd81, 0xdf4), (0xe01, 0xe5b), (0xe81, 0xedf), (0xf00, 0xfda),
    (0x1000, 0x109f), (0x10a0, 0x10ff), (0x1100, 0x11ff), (0x1200, 0x139f), (0x13a0, 0x13fd), (0x1400, 0x167f),
    (0x1680, 0x16f8), (0x1700, 0x1773), (0x1780, 0x17f9), (0x1800, 0x18aa), (0x1900, 0x19ff), (0x1a00, 0x1aad),
    (0x1b00, 0x1bff), (0x1c00, 0x1c88), (0x1d00, 0x1dbf), (0x1dc0, 0x1dff), (0x1e00, 0x1fff), (0x2000, 0x206f),
    (0x2070, 0x20cf), (0x20d0, 0x20f0), (0x2100, 0x218b), (0x2190, 0x23ff), (0x2400, 0x24ff), (0x2500, 0x27bf),
    (0x27c0, 0x2bff), (0x2c00, 0x2cff), (0x2d00, 0x2dff), (0x2e00, 0x2e7f), (0x2e80, 0x2fd5), (0x3000, 0x303f),
    (0x3041, 0x309f), (0x30a0, 0x30ff), (0x3105, 0x318e), (0x3190, 0x33ff), (0x3400, 0x4dbf), (0x4e00, 0x9fff),
    (0xa000, 0xa4c6), (0xa500, 0xa82b), (0xa840, 0xabf9), (0xac00, 0xd7a3), (0xd7b0, 0xd7fb), (0xe000, 0xe0ff),
    (0xf900, 0xfaff), (0xfb00, 0xfb4f), (0xfb50, 0xfdff), (0xfe00, 0xfe6f), (0xff01, 0xffef), (0x10000, 0x100fa),
    (0x10140, 0x101fd), (0x10280, 0x1037a), (0x10400, 0x104ff), (0x10800, 0x10aff), (0x11000, 0x11fff),
    (0x12000, 0x1254f), (0x13000, 0x1342f), (0x16800, 0x16fff), (0x17000, 0x18aff), (0x1b000, 0x1b2ff),
    (0x1d000, 0x1d1ff), (0x1d400, 0x1d7ff), (0x1e100, 0x1e14f), (0x1e900, 0x1e95f), (0x1ee00, 0x1eef1),
    (0x1f000, 0x1f2ff), (0x1f300, 0x1f6ff), (0x1f700, 0x1f9ff), (0x1fa00, 0x1fbff), (0x20000, 0x2a6df),
    (0x2f800, 0x2fa1d), (0x30000, 0x3134a), (0xe0001, 0xe01ef)]
EMOJI = ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 "
         "\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea 1\ufe0f\u20e3 \U0001f9d1\u200d\U0001f680 \u2764\ufe0f\u200d\U0001f525 "
         "\U0001fae8 \U0001fa77 \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f \u263a\ufe0f").split()
WORDS = ("the of and in to is that was for with as his it be at by from they we say her she or an will my one all would "
         "there their what so up out if about who get which go me when make can like time no just him know take people "
         "into year your good some could them see other than then now look only come its over think also back after use "
         "internationalization Straße naïve café Don't I'LL we've SHE'D it'S o'clock HTTPServer getElementById snake_case "
         "Привет мир что это как Γειά σου κόσμε שלום עולם مرحبا بالعالم नमस्ते दुनिया こんにちは 世界 カタカナ 你好 中国 人工智能 "
         "안녕하세요 세계 สวัสดีชาวโลก xin chào thế giới ñandú œuvre ſ'ſ K İstanbul ﬁne ŉ ǅ").split()
CODE = """int main(int argc, char** argv) {
\treturn std::accumulate(v.begin(), v.end(), 0ull) << 3;  // sum
def f(x: int = 0x1F) -> list[str]:
    return [f"{i:>08.3f}\\n" for i in range(x) if i % 2 == 0]
SELECT * FROM `t` WHERE a >= 10.5e-3 AND b != 'x''y';
<div class="a b" data-x='1'>&nbsp;</div>\r
let s = r#"raw"#; match s { Some(ref x) if x > &3 => {}, _ => unreachable!() }
$ grep -rnE '^[[:space:]]+#' --include=*.py . | awk '{print $1}' >/dev/null 2>&1
{"a": [1, 2.5, -3e10, null], "b": {"c": "\\u00e9"}}
fn<T: Clone+'static>(&self)->Result<(),Box<dyn Error>>{todo!()}
\\begin{align} \\frac{\\partial f}{\\partial x} &= \\sum_{i=0}^{n} x_i^2 \\end{align}
https://example.com/path?query=1&other=%20value#frag user@example.org /usr/local/bin C:\\Users\\x
x+=1;y--;z<<=2;a&&b||!c;d?e:f;@decorator #include <stdio.h>""".split("\n")
SPACES = [" ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\u00a0", "\u3000", "\u2003",
          "\u0085", "\u2028", "\u200b", "\x0b", "\x0c", " " * 17, "\n" * 9, "\t" * 5, "\u1680", "\ufeff", "\u202f"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "<|fim_prefix|>",
            "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<file_sep>", "<repo_name>",
            "<|im_start|", "<|", "|>", "<｜", "</s>", "<s>", "<unk>", "<|extra_0|>", "<|object_ref_start|>"]


def assigned(first, last):
    # Python 3.11 and newer agree on what was assigned in Unicode 14; `ages` of later characters differ.
    return [chr(c) for c in range(first, last + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]


def lines(count, seed=1):
    """`count` byte strings; some are not valid UTF-8."""
    r = random.Random(seed)
    scripts = [chars for chars in (assigned(*block) for block in BLOCKS) if chars]

    def script():
        chars = r.choice(scripts)
        parts = []
        for _ in range(r.randint(1, 8)):
            parts.append("".join(r.choice(chars) for _ in range(r.randint(1, 12))))
            parts.append(r.choice(["", " ", " ", "\u0301", ".", ", ", "7", "\n", "'s", "a"]))
        return "".join(parts)

    def words():
        return "".join(r.choice(WORDS) + r.choice([" ", " ", " ", ", ", ". ", "'s ", "-", "!\n", "  ", "\u2019t ", ""])
                       for _ in range(r.randint(1, 30)))

    def number():
        return "".join(r.choice(["%d" % r.getrandbits(r.randint(1, 64)), "%.6g" % r.uniform(-1e6, 1e6), "1,234,567.89",
                                 "0x%x" % r.getrandbits(32), "½²³Ⅷ①", "١٢٣٤٥٦", "१२३", "2024-02-29T12:34:56Z", "３４５",
                                 "1e-05", "$5", "50%"]) + r.choice(["", " ", "  ", "x", "\n", ",", "."])
                       for _ in range(r.randint(1, 8)))

    def spaces():
        return "".join(r.choice(["", "a", "word", "9", "!", "é", "中", "\u0301"]) + r.choice(SPACES)
                       for _ in range(r.randint(1, 12))) + r.choice(["", "x"])

    def controls():
        return "".join(r.choice([chr(r.randint(0, 31)), chr(r.randint(127, 160)), "\u200d", "\u200e", "\ufffe", "\U000e0001",
                                 "a", "é", " ", ".", "\u0378"]) for _ in range(r.randint(1, 24)))

    def code():
        return "\n".join(r.choice(["", " ", "  ", "\t"]) * r.randint(0, 4) + r.choice(CODE) for _ in range(r.randint(1, 4)))

    def emoji():
        return "".join(r.choice(EMOJI) + r.choice(["", " ", "a", "!", "\n"]) for _ in range(r.randint(1, 10)))

    def special():
        return "".join(r.choice([r.choice(SPECIALS), r.choice(SPECIALS), r.choice(WORDS), " ", "\n", "1", ""])
                       for _ in range(r.randint(1, 10)))

    def anything():
        return "".join(r.choice(r.choice(scripts)) for _ in range(r.randint(1, 40)))

    def marks():
        return "".join(r.choice("aeiouAEO\u0915\u1100\u1161\u11a8\u0391") +
                       "".join(r.choice("\u0301\u0323\u0307\u0327\u0345\u0308\u093c\u0338") for _ in range(r.randint(0, 5)))
                       for _ in range(r.randint(1, 12)))

    makers = [script, script, script, words, words, number, spaces, controls, code, emoji, special, anything, marks]
    for n in range(count):
        text = "".join(r.choice(makers)() for _ in range(r.choice([1, 1, 2, 3]))).encode()
        if n % 17 == 0:  # break the encoding
            text = bytearray(text)
            for _ in range(r.randint(1, 6)):
                at = r.randint(0, len(text))
                text[at:at + r.randint(0, 1)] = bytes([r.choice([0x80, 0xc0, 0xc3, 0xe2, 0xed, 0xf0, 0xf4, 0xf8, 0xff, 0xa0])])
            text = bytes(text)
        yield text
    yield b""
    yield b"a" * 20000
    yield b" " * 20000
    yield ("漢字" * 5000).encode()
    yield b"ab1! " * 4000
