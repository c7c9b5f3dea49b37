package localpg

import "testing"

func TestParseMajor(t *testing.T) {
	for output, want := range map[string]int{
		"postgres (PostgreSQL) 17.5\n":                           17,
		"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18beta1\n":                        18,
		"postgres (PostgreSQL) 19devel\n":                        19,
		"postgres (PostgreSQL) 9.6.24\n":                         9,
		"postgres (EnterpriseDB) 17.5\n":                         0,
		"psql (PostgreSQL) 17.5\n":                               0,
		"":                                                       0,
	} {
		got, err := parseMajor(output)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: got %d, %v; want %d", output, got, err, want)
		}
	}
}
