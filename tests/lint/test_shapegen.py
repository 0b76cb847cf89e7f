"""The reader of api files refuses what it cannot mean, with file and line, and the generator's C
is what src/shapes/shape.h promises. Method: small files in a temporary folder; also the real ones.

Run alone (python3 tests/lint/test_shapegen.py) or through check()."""
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools"))

import apifile  # noqa: E402
import shapegen  # noqa: E402


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, text, name="x.api"):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def refused(self, text, line, reason):
        path = self.write(text)
        with self.assertRaises(apifile.ApiError) as caught:
            shapegen.generate(path)
        self.assertTrue(str(caught.exception).startswith(f"{path}:{line}: "), caught.exception)
        self.assertIn(reason, str(caught.exception))

    def struct_refused(self, members, line, reason):
        self.refused("prefix x\nenum E A B\nerror Bad message string\nstruct T\n" + members,
                     line, reason)


class Refusals(Case):
    def test_blocks(self):
        self.refused("", 1, 'the line "prefix <name>" is missing')
        self.refused("struct T\n", 1, "comes first")
        self.refused("prefix x\nprefix y\n", 2, "a prefix already")
        self.refused("prefix x\nunion T\n", 2, 'unknown word "union"')
        self.refused("prefix x\nmember T\n", 2, 'unknown word "member"')
        self.refused("prefix x\n  name string\n", 2, "outside of a struct")
        self.refused("prefix x\nstruct T\nstruct T\n", 3, "a type T already, in line 2")
        self.refused("prefix x\nstruct T\nenum T A\n", 3, "a type T already, in line 2")
        self.refused("prefix x\nstruct t\n", 2, "named like FooBar")
        self.refused("prefix x\nstruct T extra\n", 2, "nothing more may follow")
        self.refused("prefix x\nenum E\n", 2, "has no values")
        self.refused("prefix x\nenum E A A\n", 2, "has A twice")
        self.refused("prefix x\nenum E a-b a_b\n", 2, "has a-b twice")
        self.refused("prefix x\nstruct T ~\n", 2, 'cannot read "~"')

    def test_types(self):
        self.struct_refused("  a text\n", 5, 'unknown type "text"')
        self.struct_refused("  a Text\n", 5, 'unknown type "Text"')
        self.struct_refused("  a [Text]\n", 5, 'unknown type "Text"')
        self.struct_refused("  a {Text}\n", 5, 'unknown type "Text"')
        self.struct_refused("  a y.Text\n", 5, "y is not imported")
        self.struct_refused("  a [string\n", 5, '"]" is missing')
        self.struct_refused("  a {string]\n", 5, '"}" is expected')
        self.struct_refused("  a\n", 5, "a type is missing")
        self.struct_refused("  a {integer -> string}\n", 5, "the keys of a map are strings")
        self.struct_refused("  a Bad\n", 5, "Bad is an error")

    def test_members(self):
        self.struct_refused("  a string\n  a string\n", 6, "T has a twice")
        self.struct_refused("  default string\n  default_ string\n", 6, "T has default_ twice")
        self.struct_refused("  a string ! !\n", 5, "nothing more may follow")
        self.struct_refused("  9a string\n", 5, '"9a" cannot be a member')
        many = "".join(f"  m{i} string\n" for i in range(65))
        self.struct_refused(many, 69, "more than 64 members")

    def test_constraints(self):
        self.struct_refused("  a string 5..1\n", 5, "lower bound is above")
        self.struct_refused("  a string ..\n", 5, "without a bound")
        self.struct_refused("  a string -1..\n", 5, "not negative")
        self.struct_refused("  a boolean 0..1\n", 5, "has no bounds")
        self.struct_refused("  a E 0..1\n", 5, "has no bounds")
        self.struct_refused("  a integer /[a]+/\n", 5, "only a string has a pattern")
        self.struct_refused("  a string /a|b/\n", 5, "a pattern is one class")
        self.struct_refused("  a string /[z-a]+/\n", 5, "cannot read this range")
        self.struct_refused("  a string /[\\p{Q}]+/\n", 5, "is not supported")

    def test_operations(self):
        service = "prefix x\nservice x json 1.1 X x\n"
        types = "struct T\nerror Bad message string\n"
        self.refused("prefix x\noperation Do\n", 2, "operations without a service")
        self.refused(service + "operation Do\noperation Do\n", 4, "an operation Do already")
        self.refused(service + "operation Do T\n", 3, "no struct T")
        self.refused(service + types + "operation Do T -> U\n", 5, "no struct U")
        self.refused(service + types + "operation Do T ! T\n", 5, "no error T")
        self.refused(service + types + "operation Do Bad\n", 5, "no struct Bad")
        self.refused(service + types + "operation Do T ! Bad Bad\n", 5, "names an error twice")
        self.refused(service + types + "common Bad\noperation Do T ! Bad\n", 6, "an error twice")
        self.refused(service + "operation Do\ncommon Bad\n", 4, "before the operations")
        self.refused(service + "service x json 1.1 X x\n", 3, "a service already")
        self.refused("prefix x\nservice x json\n", 2, "its version is missing")

    def test_imports(self):
        self.refused("prefix x\nimport nothing\n", 2, "there is no ")
        self.refused("prefix x\nimport x\n", 2, "imports itself")
        self.write("prefix y\nstruct T\n", "y.api")
        self.refused("prefix x\nimport y\nimport y\n", 3, "imported already")
        self.refused("prefix x\nimport y\nstruct U\n  a y.V\n", 4, 'unknown type "y.V"')
        self.refused("prefix x\nimport y\nstruct U\n  a T\n", 4, 'unknown type "T"')

    def test_nothing_is_written_on_refusal(self):
        path = self.write("prefix x\nstruct T\n  a Text\n")
        run = subprocess.run([sys.executable, str(ROOT / "tools" / "shapegen.py"), "--out-dir",
                              self.folder.name, path], capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 1)
        self.assertIn(f"{path}:3: ", run.stderr)
        self.assertEqual(os.listdir(self.folder.name), ["x.api"])


class Output(Case):
    def generate(self, text):
        return shapegen.generate(self.write(text))

    def test_header(self):
        prefix, header, _ = self.generate(
            "prefix x\nenum E a-b # a comment\nstruct T\n  default string\n  has {E}\n"
            "  list [T]\n  next T\n  words [string]\n")
        self.assertEqual(prefix, "x")
        for line in ("enum x_E {", "    X_E_a_b,", "    x_T_default_,", "    struct fl_str default_;",
                     "    struct x_E_map has_;", "    struct x_T_list list;",
                     "    struct x_T *next;", "    struct fl_str_list words;",
                     "extern const struct fl_shape x_shape_T;"):
            self.assertIn(line, header.splitlines())

    def test_patterns(self):
        def codes(text):
            pattern = apifile.Pattern(apifile.Place("x", 1), text)
            return "".join(map(chr, sorted(pattern.codes))), pattern
        self.assertEqual(codes(r"[a-c\-.#\/]+")[0], "#-./abc")
        self.assertEqual(codes(r"[a-]*")[0], "-a")
        self.assertEqual(codes(r"\d+")[0], "0123456789")
        self.assertFalse(codes(r"\d+")[1].may_be_empty)
        self.assertFalse(codes(r"\d+")[1].beyond_ascii)
        self.assertTrue(codes(r"[^:*]*")[1].beyond_ascii)
        self.assertEqual(len(codes(r"[^:*]*")[0]), 126)
        self.assertTrue(codes(r"[\p{L}]*")[1].beyond_ascii)

    def test_real_files(self):
        for path in sorted((ROOT / "api").glob("*.api")):
            first, second = shapegen.generate(str(path)), shapegen.generate(str(path))
            self.assertEqual(first, second, path)


def check():
    """For the lints: complaints, one per failed test."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    return [f"{test}: {text.strip().splitlines()[-1]}"
            for test, text in result.failures + result.errors]


if __name__ == "__main__":
    unittest.main()
