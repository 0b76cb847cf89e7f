"""Reads api files into objects, every name resolved: load(file) → Api.

The notation is described in api/README.md. Whatever is wrong with a file is an ApiError whose text
begins with file:line."""
import os
import re

PRIMITIVES = {
    # name: (C type, kind, bounds allowed)
    'string': ('struct fl_str', 'STRING', True),
    'integer': ('int32_t', 'INTEGER', True),
    'long': ('int64_t', 'LONG', True),
    'double': ('double', 'DOUBLE', True),
    'boolean': ('bool', 'BOOLEAN', False),
    'timestamp': ('int64_t', 'TIMESTAMP', False),
    'json': ('struct fl_str', 'JSON', False),
}

# Words that cannot be names of members in C; there they get an underscore behind them.
C_WORDS = set('''auto break case char const continue default do double else enum extern float for
goto if inline int long register restrict return short signed sizeof static struct switch typedef
union unsigned void volatile while bool true false asm typeof linux unix has NULL'''.split())

# What a block can begin with.
WORDS = {'prefix', 'service', 'import', 'common', 'operation', 'enum', 'struct', 'error'}

MAX_MEMBERS = 64     # one presence bit each
NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*$')

TOKEN = re.compile(r'''
    (?P<blank>\s+|\#.*$)
  | (?P<pattern>/(?:[^/\\]|\\.)+/)
  | (?P<arrow>->)
  | (?P<bounds>-?\d*\.\.-?\d*)
  | (?P<sign>[\[\]{}!])
  | (?P<word>[A-Za-z0-9_][A-Za-z0-9_.-]*)
''', re.X)


class ApiError(Exception):
    """Something a file says that cannot be; its text begins with file:line."""


class Place:
    def __init__(self, file, line):
        self.file, self.line = file, line

    def error(self, text):
        return ApiError(f'{self.file}:{self.line}: {text}')


class Type:
    """A type as written: a primitive, a named type, a list or a map, with its constraints."""

    def __init__(self, place, form, name=None, item=None, key=None):
        self.place = place
        self.form = form        # 'primitive', 'named', 'list', 'map'
        self.name = name
        self.item, self.key = item, key
        self.target = None      # of 'named': an Enum or Struct, once resolved
        self.min = self.max = None
        self.pattern = None


class Member:
    def __init__(self, place, name, type_, required):
        self.place, self.name, self.type, self.required = place, name, type_, required
        self.c_name = name + '_' if name in C_WORDS else name


class Struct:
    def __init__(self, place, api, name, is_error):
        self.place, self.api, self.name, self.is_error = place, api, name, is_error
        self.members = []

    def c_tag(self):
        return f'{self.api.prefix}_{self.name}'


class Enum:
    def __init__(self, place, api, name, values):
        self.place, self.api, self.name, self.values = place, api, name, values

    def c_tag(self):
        return f'{self.api.prefix}_{self.name}'

    def constants(self):
        stem = f'{self.api.prefix.upper()}_{self.name}_'
        return [stem + re.sub(r'[^A-Za-z0-9_]', '_', value) for value in self.values]


class Operation:
    def __init__(self, place, name, input_, output, errors):
        self.place, self.name = place, name
        self.input, self.output, self.errors = input_, output, errors


class Api:
    def __init__(self, file):
        self.file = file
        self.prefix = None
        self.service = None     # (name, protocol, version, target prefix, signing name)
        self.common = []        # errors that every operation with shapes has
        self.imports = {}
        self.types = {}         # name -> Struct or Enum, in the file's order
        self.operations = {}


def tokenize(place, line):
    tokens, at = [], 0
    while at < len(line):
        match = TOKEN.match(line, at)
        if not match:
            raise place.error(f'cannot read "{line[at:].strip()}"')
        if match.lastgroup != 'blank':
            tokens.append((match.lastgroup, match.group()))
        at = match.end()
    return tokens


class Tokens:
    """The rest of a line, read from left to right."""

    def __init__(self, place, tokens):
        self.place, self.tokens = place, tokens

    def peek(self, *texts):
        return bool(self.tokens) and self.tokens[0][1] in texts

    def peek_kind(self, kind):
        return bool(self.tokens) and self.tokens[0][0] == kind

    def take(self, what):
        if not self.tokens:
            raise self.place.error(f'{what} is missing')
        return self.tokens.pop(0)[1]

    def take_name(self, what):
        name = self.take(what)
        if not NAME.match(name):
            raise self.place.error(f'"{name}" cannot be {what}')
        return name

    def expect(self, text):
        found = self.take(f'"{text}"')
        if found != text:
            raise self.place.error(f'"{text}" is expected where "{found}" stands')

    def end(self):
        if self.tokens:
            raise self.place.error(f'nothing more may follow, but "{self.tokens[0][1]}" does')


def parse_bounds(place, text):
    low, high = text.split('..')
    low, high = (int(low) if low else None), (int(high) if high else None)
    if low is None and high is None:
        raise place.error('".." without a bound')
    if low is not None and high is not None and low > high:
        raise place.error(f'{text}: the lower bound is above the upper one')
    return low, high


def parse_type(tokens):
    place = tokens.place
    if tokens.peek('['):
        tokens.take('[')
        result = Type(place, 'list', item=parse_type(tokens))
        tokens.expect(']')
    elif tokens.peek('{'):
        result = parse_map(tokens)
    else:
        name = tokens.take('a type')
        if name in PRIMITIVES:
            result = Type(place, 'primitive', name)
        elif re.match(r'([a-z]\w*\.)?[A-Z]\w*$', name):
            result = Type(place, 'named', name)
        else:
            raise place.error(f'unknown type "{name}"')
    if tokens.peek_kind('bounds'):
        result.min, result.max = parse_bounds(place, tokens.take('bounds'))
    if tokens.peek_kind('pattern'):
        result.pattern = Pattern(place, tokens.take('a pattern')[1:-1])
    check_constraints(result)
    return result


def parse_map(tokens):
    """{value}, or {key -> value} where the keys have constraints too."""
    tokens.take('{')
    key, value = None, parse_type(tokens)
    if tokens.peek('->'):
        tokens.take('->')
        key, value = value, parse_type(tokens)
        if key.name != 'string':
            raise tokens.place.error('the keys of a map are strings')
    tokens.expect('}')
    return Type(tokens.place, 'map', item=value, key=key)


def check_constraints(type_):
    bounded = type_.min is not None or type_.max is not None
    if type_.pattern and type_.name != 'string':
        raise type_.place.error('only a string has a pattern')
    if type_.form == 'primitive' and bounded and not PRIMITIVES[type_.name][2]:
        raise type_.place.error(f'a {type_.name} has no bounds')
    if type_.form == 'named' and bounded:
        raise type_.place.error(f'{type_.name} has no bounds')
    counted = type_.form in ('list', 'map') or type_.name == 'string'
    if counted and type_.min is not None and type_.min < 0:
        raise type_.place.error('a length is not negative')


class Pattern:
    """One character class, repeated by * or +: as a set of ASCII codes and a flag for the rest."""

    ATOM = re.compile(r'\\p\{[A-Z]\}|\\.|[^\\\]]')

    def __init__(self, place, text):
        self.text = text.replace('\\/', '/')
        match = re.match(r'(?:\[(\^?)((?:\\.|[^\\\]])+)\]|(\\[wdsS]))([*+])$', self.text)
        if not match:
            raise place.error(f'/{text}/: a pattern is one class like [a-z] followed by * or +')
        self.may_be_empty = match.group(4) == '*'
        self.codes, self.beyond_ascii = set(), False
        self._add_class(place, match.group(2) or match.group(3))
        if match.group(1):
            self.codes = set(range(128)) - self.codes
            self.beyond_ascii = not self.beyond_ascii

    def _add_class(self, place, text):
        atoms = self.ATOM.findall(text)
        if ''.join(atoms) != text:
            raise place.error(f'[{text}]: cannot read this class')
        while atoms:
            low = self._codes_of(place, atoms.pop(0))
            if len(atoms) >= 2 and atoms[0] == '-' and len(low) == 1:
                atoms.pop(0)
                high = self._codes_of(place, atoms.pop(0))
                if len(high) != 1 or min(high) < min(low):
                    raise place.error(f'[{text}]: cannot read this range')
                low = set(range(min(low), min(high) + 1))
            self.codes |= low

    def _codes_of(self, place, atom):
        digits, letters = set(range(48, 58)), set(range(65, 91)) | set(range(97, 123))
        if atom.startswith('\\p'):
            self.beyond_ascii = True
            named = {'L': letters, 'N': digits, 'Z': {32}}
            if atom[3] not in named:
                raise place.error(f'{atom} is not supported')
            return named[atom[3]]
        if atom[0] == '\\' and atom[1].isalpha():
            spaces = {9, 10, 11, 12, 13, 32}
            named = {'w': letters | digits | {95}, 'd': digits, 's': spaces,
                     'S': set(range(128)) - spaces}
            if atom[1] not in named:
                raise place.error(f'{atom} is not supported')
            self.beyond_ascii |= atom[1] == 'S'
            return named[atom[1]]
        if not atom.isascii():
            raise place.error(f'{atom}: only ASCII in a class')
        return {ord(atom[-1])}


class Reader:
    """Reads one file into an Api. Blocks begin at the line's start, members are indented."""

    def __init__(self, file, imported):
        self.api = Api(file)
        self.imported = imported    # name -> Api: reads an import
        self.struct = None

    def read(self):
        with open(self.api.file, encoding='utf-8') as lines:
            for number, line in enumerate(lines, 1):
                self.place = Place(self.api.file, number)
                tokens = Tokens(self.place, tokenize(self.place, line.rstrip('\n')))
                if tokens.tokens:
                    self.read_line(tokens, line[0] in ' \t')
        if self.api.prefix is None:
            raise Place(self.api.file, 1).error('the line "prefix <name>" is missing')
        return self.api

    def read_line(self, tokens, indented):
        if indented:
            if not self.struct:
                raise self.place.error('a member outside of a struct or error')
            self.read_member(tokens)
            return
        self.struct = None
        word = tokens.take('a word')
        if word not in WORDS:
            raise self.place.error(f'unknown word "{word}"')
        if word != 'prefix' and self.api.prefix is None:
            raise self.place.error('the line "prefix <name>" comes first')
        getattr(self, 'read_' + word)(tokens)

    def read_prefix(self, tokens):
        if self.api.prefix is not None:
            raise self.place.error('there is a prefix already')
        self.api.prefix = tokens.take_name('a prefix')
        tokens.end()

    def read_service(self, tokens):
        if self.api.service:
            raise self.place.error('there is a service already')
        self.api.service = tuple(tokens.take(what) for what in (
            'the name', 'the protocol', 'its version', 'the target prefix', 'the signing name'))
        tokens.end()

    def read_import(self, tokens):
        name = tokens.take_name('an import')
        tokens.end()
        if name in self.api.imports:
            raise self.place.error(f'{name} is imported already')
        path = os.path.join(os.path.dirname(self.api.file), name + '.api')
        if not os.path.exists(path):
            raise self.place.error(f'there is no {path}')
        self.api.imports[name] = self.imported(path, self.place)

    def read_common(self, tokens):
        if self.api.common or self.api.operations:
            raise self.place.error('one line "common", before the operations')
        while tokens.tokens:
            self.api.common.append(tokens.take_name('an error'))

    def read_operation(self, tokens):
        name = tokens.take_name('an operation')
        input_ = output = None
        errors = []
        if tokens.tokens:
            input_ = tokens.take_name('the input')
            if tokens.peek('->'):
                tokens.take('->')
                output = tokens.take_name('the output')
        if tokens.peek('!'):
            tokens.take('!')
            while tokens.tokens:
                errors.append(tokens.take_name('an error'))
        tokens.end()
        if name in self.api.operations:
            raise self.place.error(f'there is an operation {name} already')
        errors += self.api.common if input_ else []
        self.api.operations[name] = Operation(self.place, name, input_, output, errors)

    def read_enum(self, tokens):
        name = tokens.take_name('an enum')
        values = []
        while tokens.tokens:
            values.append(tokens.take('a value'))
        enum = Enum(self.place, self.api, name, values)
        if not values:
            raise self.place.error(f'{name} has no values')
        constants = enum.constants()
        for value, constant in zip(values, constants):
            if constants.count(constant) > 1:
                raise self.place.error(f'{name} has {value} twice')
        self.add_type(enum)

    def read_struct(self, tokens):
        self.begin_struct(tokens, False)
        tokens.end()

    def read_error(self, tokens):
        self.begin_struct(tokens, True)
        if tokens.tokens:
            self.read_member(tokens)

    def begin_struct(self, tokens, is_error):
        name = tokens.take_name('an error' if is_error else 'a struct')
        self.struct = Struct(self.place, self.api, name, is_error)
        self.add_type(self.struct)

    def add_type(self, type_):
        if type_.name in self.api.types:
            line = self.api.types[type_.name].place.line
            raise self.place.error(f'there is a type {type_.name} already, in line {line}')
        if not re.match(r'[A-Z][A-Za-z0-9]*$', type_.name):
            raise self.place.error(f'a type is named like FooBar, not {type_.name}')
        self.api.types[type_.name] = type_

    def read_member(self, tokens):
        name = tokens.take_name('a member')
        type_ = parse_type(tokens)
        required = tokens.peek('!')
        if required:
            tokens.take('!')
        tokens.end()
        member = Member(self.place, name, type_, required)
        if any(member.c_name == other.c_name for other in self.struct.members):
            raise self.place.error(f'{self.struct.name} has {name} twice')
        if len(self.struct.members) == MAX_MEMBERS:
            raise self.place.error(f'{self.struct.name} has more than {MAX_MEMBERS} members')
        self.struct.members.append(member)


def resolve_type(api, type_):
    if type_.form in ('list', 'map'):
        resolve_type(api, type_.item)
    elif type_.form == 'named':
        owner, _, name = type_.name.rpartition('.')
        if owner and owner not in api.imports:
            raise type_.place.error(f'{owner} is not imported')
        types = api.imports[owner].types if owner else api.types
        if name not in types:
            raise type_.place.error(f'unknown type "{type_.name}"')
        type_.target = types[name]
        if isinstance(type_.target, Struct) and type_.target.is_error:
            raise type_.place.error(f'{type_.name} is an error, not a type of members')


def resolve_operation(api, operation):
    for name, is_error in ([(operation.input, False), (operation.output, False)]
                           + [(error, True) for error in operation.errors]):
        if name is None:
            continue
        target = api.types.get(name)
        if not isinstance(target, Struct) or target.is_error != is_error:
            kind = 'error' if is_error else 'struct'
            raise operation.place.error(f'{operation.name}: there is no {kind} {name}')
    if len(set(operation.errors)) != len(operation.errors):
        raise operation.place.error(f'{operation.name} names an error twice')


def load(file, within=()):
    """The Api of a file with all its imports, every name resolved."""
    def imported(path, place):
        if path in within + (file,):
            raise place.error(f'{path} imports itself')
        return load(path, within + (file,))

    api = Reader(file, imported).read()
    for type_ in api.types.values():
        for member in getattr(type_, 'members', []):
            resolve_type(api, member.type)
    for operation in api.operations.values():
        resolve_operation(api, operation)
    if api.operations and not api.service:
        place = next(iter(api.operations.values())).place
        raise place.error('operations without a service')
    return api
