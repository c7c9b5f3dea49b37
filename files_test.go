package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Inside a package, too, arrows run down: the files that use each other form no circle.
// An arrow leads from a file to the one that declares what it uses: a function, method,
// type, constant or variable. A method uses its own receiver's type and fields without
// an arrow, because the methods of a type are one thing, however many files they fill.
func TestFilesFormNoCircle(t *testing.T) {
	for _, p := range listPackages(t) {
		if packageOf(p.folder) == "" {
			continue
		}
		uses := p.uses(t)
		for _, circle := range circles(slices.Sorted(maps.Keys(uses)), func(f string) []string { return slices.Sorted(maps.Keys(uses[f])) }) {
			t.Errorf("%s: these files form a circle: %s", p.folder, strings.Join(circle, " "))
			for _, from := range circle {
				for _, to := range circle {
					if len(uses[from][to]) > 0 {
						t.Logf("    %s -> %s: %s", from, to, strings.Join(slices.Sorted(maps.Keys(uses[from][to])), ", "))
					}
				}
			}
		}
	}
}

// sourcePackage is one package with its files.
type sourcePackage struct {
	folder  string
	files   []string
	exports map[string]string // files with export data, by import path
}

// listPackages asks the go command for the packages of the module.
func listPackages(t *testing.T) []sourcePackage {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", `{{.ImportPath}}|{{.Export}}|{{if not .Standard}}{{.Dir}}{{end}}|{{join .GoFiles " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	var all []sourcePackage
	for line := range strings.Lines(string(out)) {
		part := strings.Split(strings.TrimSpace(line), "|")
		exports[part[0]] = part[1]
		if folder, ours := strings.CutPrefix(part[0], module); ours {
			p := sourcePackage{folder: folder, exports: exports}
			for _, name := range strings.Fields(part[3]) {
				p.files = append(p.files, filepath.Join(part[2], name))
			}
			all = append(all, p)
		}
	}
	return all
}

// uses returns, for each file, the files it uses and the names it uses from them.
func (p sourcePackage) uses(t *testing.T) map[string]map[string]map[string]bool {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.files {
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(p.exports[path]) })}
	pkg, err := config.Check(module+p.folder, fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]map[string]map[string]bool{}
	for i, f := range files {
		from := filepath.Base(p.files[i])
		uses[from] = map[string]map[string]bool{}
		for _, decl := range f.Decls {
			own := receiver(decl, info)
			ast.Inspect(decl, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				if !ok {
					return true
				}
				used := info.Uses[id]
				if used == nil || used.Pkg() != pkg || belongs(used, own) {
					return true
				}
				if v, isVar := used.(*types.Var); isVar && !v.IsField() && v.Parent() != pkg.Scope() {
					return true
				}
				if to := filepath.Base(fset.Position(used.Pos()).Filename); to != from {
					if uses[from][to] == nil {
						uses[from][to] = map[string]bool{}
					}
					uses[from][to][used.Name()] = true
				}
				return true
			})
		}
	}
	return uses
}

// receiver returns the type to which a method declaration belongs; nil if it is not a method.
func receiver(decl ast.Decl, info *types.Info) *types.TypeName {
	f, ok := decl.(*ast.FuncDecl)
	if !ok || f.Recv == nil {
		return nil
	}
	e := f.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	switch x := e.(type) {
	case *ast.IndexExpr:
		e = x.X
	case *ast.IndexListExpr:
		e = x.X
	}
	name, _ := info.Uses[e.(*ast.Ident)].(*types.TypeName)
	return name
}

// belongs reports whether used is the type own or one of its fields.
func belongs(used types.Object, own *types.TypeName) bool {
	if own == nil {
		return false
	}
	if used == own {
		return true
	}
	v, ok := used.(*types.Var)
	if !ok || !v.IsField() {
		return false
	}
	s, ok := own.Type().Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for f := range s.Fields() {
		if f.Pos() == v.Pos() {
			return true
		}
	}
	return false
}

// circles returns the strongly connected components of more than one node (Tarjan).
func circles(nodes []string, next func(string) []string) (all [][]string) {
	index, low := map[string]int{}, map[string]int{}
	var stack []string
	var visit func(string)
	visit = func(n string) {
		index[n] = len(index) + 1
		low[n] = index[n]
		stack = append(stack, n)
		for _, m := range next(n) {
			if index[m] == 0 {
				visit(m)
				low[n] = min(low[n], low[m])
			} else if slices.Contains(stack, m) {
				low[n] = min(low[n], index[m])
			}
		}
		if low[n] == index[n] {
			at := slices.Index(stack, n)
			if group := slices.Clone(stack[at:]); len(group) > 1 {
				all = append(all, group)
			}
			stack = stack[:at]
		}
	}
	for _, n := range nodes {
		if index[n] == 0 {
			visit(n)
		}
	}
	return all
}
